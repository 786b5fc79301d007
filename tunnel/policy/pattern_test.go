package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"*", []string{"example.com:22", "192.0.2.1:80", "[2001:db8::1]:443"}, []string{"example.com:25"}},
		{"*:*", []string{"example.com:1", "[::1]:65535"}, nil},
		{"*:443", []string{"example.com:443", "192.0.2.1:443"}, []string{"example.com:80"}},

		{"example.com", []string{"example.com:22", "EXAMPLE.com.:443"},
			[]string{"example.com:25", "www.example.com:443", "xexample.com:443", "example.com.evil.example:443"}},
		{"Example.COM.:443", []string{"example.com:443"}, []string{"example.com:80"}},
		{"localhost:8080", []string{"localhost:8080"}, []string{"127.0.0.1:8080", "a.localhost:8080"}},
		{"my_host:22", []string{"my_host:22"}, nil},

		{"*.example.com", []string{"www.example.com:443", "a.b.example.com:443", "WWW.Example.COM.:443"},
			[]string{"example.com:443", "xexample.com:443", "www.example.com:25", "example.com.evil.example:443"}},
		{"*.Example.Com.:25", []string{"mx.example.com:25"}, []string{"example.com:25"}},
		{".example.com", []string{"example.com:443", "www.example.com:443", "a.b.example.com:22"},
			[]string{"xexample.com:443", "example.com:25"}},
		{".com:*", []string{"com:1", "example.com:2"}, []string{"xcom:1"}},

		{"192.0.2.1", []string{"192.0.2.1:443", "[::ffff:192.0.2.1]:443"}, []string{"192.0.2.2:443", "192.0.2.1:25"}},
		{"192.0.2.0/24:443", []string{"192.0.2.0:443", "192.0.2.255:443"}, []string{"192.0.3.0:443", "192.0.2.1:80", "name.example:443"}},
		{"0.0.0.0/0:*", []string{"192.0.2.1:1"}, []string{"[2001:db8::1]:1", "name.example:1"}},
		{"2001:db8::1", []string{"[2001:DB8:0::1]:443"}, []string{"[2001:db8::2]:443", "[2001:db8::1]:25"}},
		{"2001:db8::/32", []string{"[2001:db8:ffff::1]:22"}, []string{"[2001:db9::1]:22", "[2001:db8::1]:25"}},
		{"[2001:db8::1]", []string{"[2001:db8::1]:443"}, []string{"[2001:db8::1]:25"}},
		{"[2001:DB8::1]:443", []string{"[2001:db8::1]:443"}, []string{"[2001:db8::1]:80"}},
		{"[2001:db8::/32]:443", []string{"[2001:db8:1::1]:443"}, []string{"[2001:db8:1::1]:80", "[2001:db9::]:443"}},
		{"2001:db8::1:443", []string{"[2001:db8::1:443]:22"}, []string{"[2001:db8::1]:443"}},

		{"a.example:22,443", []string{"a.example:22", "a.example:443"}, []string{"a.example:23"}},
		{"a.example:8000-8999", []string{"a.example:8000", "a.example:8500", "a.example:8999"}, []string{"a.example:7999", "a.example:9000"}},
		{"a.example:22,8000-8999,443", []string{"a.example:22", "a.example:8080", "a.example:443"}, []string{"a.example:80"}},
		{"a.example:1-65535", []string{"a.example:1", "a.example:65535"}, nil},
	} {
		p := parsedPattern(t, c.pattern)
		for _, target := range c.yes {
			if !p.match(testkit.MustAuthority(t, target), defaultPorts) {
				t.Errorf("%q does not match %q", c.pattern, target)
			}
		}
		for _, target := range c.no {
			if p.match(testkit.MustAuthority(t, target), defaultPorts) {
				t.Errorf("%q matches %q", c.pattern, target)
			}
		}
	}
}

func TestPatternWithoutPortsTakesTheGivenOnes(t *testing.T) {
	target := testkit.MustAuthority(t, "a.example:25")
	p := parsedPattern(t, "a.example")
	if p.match(target, defaultPorts) || !p.match(target, allPorts) {
		t.Error("port 25: want a match with all ports and none with the default ports")
	}
	if parsedPattern(t, "a.example:443").match(target, allPorts) {
		t.Error("a.example:443 matches port 25 where all ports are the default")
	}
}

func TestZeroPatternMatchesNothing(t *testing.T) {
	for _, target := range []string{"a.example:443", "192.0.2.1:443", "[::1]:443"} {
		if (Pattern{}).match(testkit.MustAuthority(t, target), allPorts) {
			t.Errorf("matches %q", target)
		}
	}
	if parsedPattern(t, "*:*").match(tunnel.Authority{}, allPorts) {
		t.Error("*:* matches the zero Authority")
	}
}

func TestPatternStringIsCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"*":                      "*",
		"*:*":                    "*:*",
		"*:22,80,443":            "*:22,80,443",
		"EXAMPLE.com.":           "example.com",
		"*.Example.com.:0443":    "*.example.com:443",
		".example.com:8000-8999": ".example.com:8000-8999",
		"a.example:7-7,1-65535":  "a.example:7,1-65535",
		"a.example:1-65535":      "a.example:*",
		"192.0.2.1/32":           "192.0.2.1",
		"192.0.2.1.:22":          "192.0.2.1:22",
		"10.0.0.0/8:22":          "10.0.0.0/8:22",
		"2001:DB8:0:0::/32":      "2001:db8::/32",
		"[2001:db8::1]":          "2001:db8::1",
		"[2001:DB8::1/128]:443":  "[2001:db8::1]:443",
		"[::/0]:*":               "[::/0]:*",
	} {
		if got := parsedPattern(t, in).String(); got != want {
			t.Errorf("ParsePattern(%q).String() = %q, want %q", in, got, want)
		}
	}
}

func TestParsePatternRefuses(t *testing.T) {
	for _, c := range []struct {
		in    string
		cause error    // nil: has no name
		says  []string // what an operator needs to read
	}{
		{"", errNoPattern, []string{"HOST[:PORTS]"}},
		{":443", tunnel.ErrEmptyHost, nil},
		{".", tunnel.ErrEmptyHost, nil},
		{"*.", tunnel.ErrEmptyHost, nil},
		{"[]:443", tunnel.ErrEmptyHost, nil},
		{"..example.com", tunnel.ErrLabelLength, nil},
		{"a..example", tunnel.ErrLabelLength, nil},
		{"a.example..", tunnel.ErrLabelLength, nil},

		{"a*b.example", errWildcard, []string{`"a*b.example"`, "*.example.com"}},
		{"*.*.example", errWildcard, nil},
		{"**", errWildcard, nil},
		{"*example.com", errWildcard, nil},
		{"www.*.example", errWildcard, nil},
		{".*", errWildcard, nil},

		{"a.example:", tunnel.ErrNoPort, nil},
		{"a.example:0", tunnel.ErrBadPort, []string{`"0"`, "8000-8999"}},
		{"a.example:65536", tunnel.ErrBadPort, nil},
		{"a.example:4294967739", tunnel.ErrBadPort, []string{`"4294967739"`}},
		{"a.example:https", tunnel.ErrBadPort, nil},
		{"a.example:22,", tunnel.ErrNoPort, nil},
		{"a.example:,22", tunnel.ErrNoPort, nil},
		{"a.example:22, 443", tunnel.ErrBadPort, nil},
		{"a.example:22-", tunnel.ErrNoPort, nil},
		{"a.example:-22", tunnel.ErrNoPort, nil},
		{"a.example:22-443-80", tunnel.ErrBadPort, nil},
		{"a.example:443-22", errReversed, []string{`"443-22"`}},
		{"a.example:0-443", tunnel.ErrBadPort, nil},
		{"a.example:22,*", tunnel.ErrBadPort, nil},
		{"a.example:443x", tunnel.ErrBadPort, nil},
		{"*:443 ", tunnel.ErrBadPort, nil},

		{"[example.com]:443", errBracketForm, nil},
		{"[*]:443", errBracketForm, nil},
		{"[192.0.2.1]:443", errBracketForm, nil},
		{"[192.0.2.0/24]", errBracketForm, nil},
		{"[2001:db8::1", errBracketForm, nil},
		{"[2001:db8::1]443", errBracketForm, nil},
		{"[2001:db8::]/32", errBracketForm, []string{"[2001:db8::/32]:443"}},
		{"[2001:db8::1]:443:22", tunnel.ErrBadPort, nil},
		{"::/0:443", errPatternColons, nil},
		{"2001:db8::/32:443", errPatternColons, []string{"[2001:db8::1]:443"}},
		{"1:2:3:4:5:6:7:8:443", errPatternColons, nil},
		{"a.example:22:443", errPatternColons, []string{"commas"}},
		{"fe80::1%eth0", tunnel.ErrZone, nil},
		{"[fe80::1%eth0]:22", tunnel.ErrZone, nil},

		{"192.0.2.0/33", nil, []string{`"192.0.2.0/33"`}},
		{"192.0.2/24", nil, nil},
		{"192.0.2.0/024", nil, nil},
		{"192.0.2.0/", nil, nil},
		{"example.com/24", nil, nil},
		{"192.0.2.7/24:443", nil, []string{"192.0.2.0/24", "192.0.2.7"}},
		{"2001:db8::1/32", nil, []string{"2001:db8::/32", "2001:db8::1"}},
		{"::ffff:192.0.2.1", nil, []string{"192.0.2.1"}},
		{"[::ffff:10.0.0.0/104]:22", nil, []string{"10.0.0.0/8"}},
		{"*.192.0.2.1", nil, []string{"no subdomains"}},
		{".192.0.2.1", nil, nil},

		{"bücher.example", errPatternASCII, []string{"xn--"}},
		{"a.example:４４３", errPatternASCII, nil},
		{"https://a.example", errPatternURL, nil},
		{"user@a.example", tunnel.ErrHostChar, nil},
		{"a.example ", tunnel.ErrHostChar, nil},
		{" a.example", tunnel.ErrHostChar, nil},
		{"a.example\x00", tunnel.ErrHostChar, nil},
		{strings.Repeat("a", 64) + ".example", tunnel.ErrLabelLength, nil},
		{"*." + strings.Repeat("a.", 127) + "ab", tunnel.ErrHostLength, nil},
	} {
		p, err := ParsePattern(c.in)
		if err == nil {
			t.Errorf("ParsePattern(%q) = %q, want an error", c.in, p)
			continue
		}
		if c.cause != nil && !errors.Is(err, c.cause) {
			t.Errorf("ParsePattern(%q): %v; want %v", c.in, err, c.cause)
		}
		for _, word := range c.says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("ParsePattern(%q): %v; want it to say %s", c.in, err, word)
			}
		}
	}
}

func TestParsePatternRefusesLenientIPv4(t *testing.T) {
	for _, host := range testkit.LenientIPv4 {
		for _, before := range []string{"", ".", "*."} {
			if p, err := ParsePattern(before + host); !errors.Is(err, tunnel.ErrNumericHost) {
				t.Errorf("ParsePattern(%q) = %q, %v; want %v", before+host, p, err, tunnel.ErrNumericHost)
			}
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"*", "*:*", "example.com:22,443", "*.Example.com.", ".example.com:8000-8999", "192.0.2.1", "10.0.0.0/8:22", "2001:db8::/32", "[2001:DB8::1]:443", "[::/0]:*", "::ffff:1.2.3.4"} {
		f.Add(s, "www.example.com:443")
		f.Add(s, "[2001:db8::1]:443")
		f.Add(s, "10.0.0.1:22")
	}
	f.Fuzz(func(t *testing.T, s, target string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil || again.String() != p.String() ||
			again.kind != p.kind || again.host != p.host || again.prefix != p.prefix || !slices.Equal(again.ports, p.ports) {
			t.Errorf("%q: %q comes back as %q, %v", s, p, again, err)
		}
		a, err := tunnel.ParseAuthority(target)
		if err != nil {
			return
		}
		index := indexPatterns([]Pattern{p}, defaultPorts, "", "")
		i, _ := index.find(a.Host(), a.Addr().Unmap(), a.Port())
		if p.match(a, defaultPorts) != (i == 0) {
			t.Errorf("%q and %q: match says %v, the index %d", s, target, p.match(a, defaultPorts), i)
		}
	})
}

func parsedPattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatalf("ParsePattern(%q): %v", s, err)
	}
	return p
}
