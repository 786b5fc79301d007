package tunnel

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseAuthorityIsCanonical(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"example.com:443", "example.com:443"},
		{"EXAMPLE.Com:443", "example.com:443"},
		{"example.com.:443", "example.com:443"},
		{"example.com:00443", "example.com:443"},
		{"example.com:1", "example.com:1"},
		{"example.com:65535", "example.com:65535"},
		{"localhost:22", "localhost:22"},
		{"my_host--x.example:22", "my_host--x.example:22"},
		{"xn--bcher-kva.example:443", "xn--bcher-kva.example:443"},
		{"1.example:443", "1.example:443"},
		{"0x1.example:443", "0x1.example:443"},
		{"4and.2day:443", "4and.2day:443"},
		{"0xg:443", "0xg:443"},
		{"192.0.2.1:443", "192.0.2.1:443"},
		{"192.0.2.1.:443", "192.0.2.1:443"},
		{"[2001:DB8:0::1]:443", "[2001:db8::1]:443"},
		{"[::1]:22", "[::1]:22"},
		{"[::FFFF:192.0.2.1]:22", "[::ffff:192.0.2.1]:22"},
		{"[::ffff:c000:201]:22", "[::ffff:192.0.2.1]:22"},
		{strings.Repeat("a", 63) + ".example:443", strings.Repeat("a", 63) + ".example:443"},
	} {
		a, err := ParseAuthority(c.in)
		if err != nil || a.String() != c.want {
			t.Errorf("ParseAuthority(%q) = %q, %v; want %q", c.in, a, err, c.want)
		}
	}
}

// Forms that the target of a CONNECT must not have (RFC 9110, section 9.3.6).
func TestParseAuthorityRefuses(t *testing.T) {
	long := strings.Repeat("a.", 126) // 252 bytes, and one label more makes 253
	for _, c := range []struct {
		in   string
		want error
	}{
		{"", ErrNoPort},
		{"example.com", ErrNoPort},
		{"example.com:", ErrNoPort},
		{"[::1]", ErrNoPort},
		{"[::1]:", ErrNoPort},
		{"example.com:0", ErrBadPort},
		{"example.com:65536", ErrBadPort},
		{"example.com:4294967739", ErrBadPort}, // 443 modulo 2^32
		{"example.com:18446744073709552059", ErrBadPort},
		{"example.com:+443", ErrBadPort},
		{"example.com:-1", ErrBadPort},
		{"example.com: 443", ErrBadPort},
		{"example.com:443 ", ErrBadPort},
		{"example.com:0x1bb", ErrBadPort},
		{"example.com:https", ErrBadPort},
		{"example.com:４４３", ErrBadPort},
		{":443", ErrEmptyHost},
		{".:443", ErrEmptyHost},
		{"[]:443", ErrEmptyHost},
		{"user@example.com:443", errUserinfo},
		{"user:secret@example.com:443", errUserinfo},
		{"example.com:443/", errPath},
		{"example.com:443?q", errPath},
		{"example.com:443#f", errPath},
		{"http://example.com:443", errPath},
		{`example.com\:443`, errPath},
		{"[example.com]:443", errBrackets},
		{"[192.0.2.1]:443", errBrackets},
		{"[::1:443", errBrackets},
		{"[::1]443", errBrackets},
		{"[::1]x:443", errBrackets},
		{"[[::1]]:443", errBrackets},
		{"[::g]:443", errBrackets},
		{"::1:443", errUnbracketed},
		{"2001:db8::1:443", errUnbracketed},
		{"[fe80::1%eth0]:443", ErrZone},
		{"[fe80::1%25eth0]:443", ErrZone},
		{"a..example:443", ErrLabelLength},
		{".example.com:443", ErrLabelLength},
		{"example.com..:443", ErrLabelLength},
		{strings.Repeat("a", 64) + ".example:443", ErrLabelLength},
		{long + "ab:443", ErrHostLength},
		{strings.Repeat("a", 600), errAuthorityLen},
		{"exa mple.com:443", ErrHostChar},
		{"example.com\x00:443", ErrHostChar},
		{"example.com\r\nX: y", ErrBadPort}, // the port is looked at first
		{"bücher.example:443", ErrHostChar},
		{"*.example.com:443", ErrHostChar},
		{"example%2ecom:443", ErrHostChar},
	} {
		a, err := ParseAuthority(c.in)
		if !errors.Is(err, c.want) || !a.IsZero() {
			t.Errorf("ParseAuthority(%q) = %q, %v; want %v", c.in, a, err, c.want)
		}
	}
	if _, err := ParseAuthority(long + "a:443"); err != nil {
		t.Errorf("a name of 253 bytes: %v", err)
	}
	if _, err := ParseAuthority(long + "a.:443"); err != nil {
		t.Errorf("a name of 253 bytes and the root dot: %v", err)
	}
}

func TestAuthorityParts(t *testing.T) {
	a, err := ParseAuthority("[2001:DB8::1]:443")
	if err != nil {
		t.Fatal(err)
	}
	if a.Host() != "2001:db8::1" || a.Port() != 443 || a.Addr() != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("parts = %q, %d, %v", a.Host(), a.Port(), a.Addr())
	}
	for port, want := range map[uint16]string{443: "[2001:db8::1]", 80: "[2001:db8::1]:443"} {
		if got := a.HostHeader(port); got != want {
			t.Errorf("hostHeader(%d) = %q, want %q", port, got, want)
		}
	}
	if n, err := ParseAuthority("a.example:1"); err != nil || n.Addr().IsValid() {
		t.Errorf("a name has address %v, error %v", n.Addr(), err)
	}
}

func TestNewAuthorityWantsAPort(t *testing.T) {
	if a, err := NewAuthority("example.com", 0); !errors.Is(err, ErrBadPort) {
		t.Errorf("NewAuthority with port 0 = %q, %v", a, err)
	}
	if a, err := NewAuthority("::1", 22); err != nil || a.String() != "[::1]:22" {
		t.Errorf("NewAuthority(::1) = %q, %v", a, err)
	}
}

func TestAuthorityAsJSON(t *testing.T) {
	for _, text := range []string{`"[::1]:22"`, `"example.com:443"`, `""`} {
		var a Authority
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if out, err := json.Marshal(a); err != nil || string(out) != text {
			t.Errorf("%s comes back as %s, %v", text, out, err)
		}
	}
	var a Authority
	if err := json.Unmarshal([]byte(`"example.com"`), &a); !errors.Is(err, ErrNoPort) {
		t.Errorf("a host without port: %v", err)
	}
}

func FuzzParseAuthority(f *testing.F) {
	for _, s := range []string{"example.com:443", "EXAMPLE.com.:443", "[2001:DB8::1]:22", "[::ffff:192.0.2.1]:1", "192.0.2.1.:65535", "127.1:80", "a@b:1", "[::1%1]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAuthority(s)
		if err != nil {
			if !a.IsZero() {
				t.Fatalf("%q: %v, and yet %q", s, err, a)
			}
			return
		}
		text := a.String()
		if again, err := ParseAuthority(text); err != nil || again != a || again.String() != text {
			t.Errorf("%q: %q comes back as %q, %v", s, text, again, err)
		}
		if made, err := NewAuthority(a.Host(), a.Port()); err != nil || made != a {
			t.Errorf("%q: NewAuthority of the parts = %q, %v", s, made, err)
		}
		if strings.ToLower(text) != text {
			t.Errorf("%q: %q has upper case", s, text)
		}
		if a.Port() == 0 || strings.HasSuffix(a.Host(), ".") || strings.ContainsAny(a.Host(), "[]%/@ \r\n\x00") {
			t.Errorf("%q: host %q, port %d", s, a.Host(), a.Port())
		}
	})
}
