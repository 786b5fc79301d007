package pac

import (
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	for _, c := range []struct{ list, routes, skipped, err string }{
		{list: "", routes: "direct"},
		{list: " \t", routes: "direct"},
		{list: "DIRECT", routes: "direct"},
		{list: "direct;", routes: "direct"},
		{list: "PROXY a:8080; HTTPS b; SOCKS c:1080; SOCKS5 d; SOCKS4 e; DIRECT",
			routes: "http://a:8080 https://b:443 socks4a://c:1080 socks5h://d:1080 socks4a://e:1080 direct"},
		{list: "proxy a", routes: "http://a:80"},
		{list: "HTTP\ta:1;;\n  PROXY   b:2 ;", routes: "http://a:1 http://b:2"},
		{list: "PROXY [2001:db8::1]:3128", routes: "http://[2001:db8::1]:3128"},
		{list: "PROXY UPPER.example:1", routes: "http://upper.example:1"},
		{list: "QUIC q:443; PROXY a:1", routes: "http://a:1", skipped: "QUIC q:443 (not a kind"},
		{list: "QUIC q:443", skipped: "QUIC", err: `no way that culvert can take: "QUIC q:443"`},
		{list: ";;", err: "no way"},
		{list: "undefined", skipped: "undefined", err: "no way"},
		{list: "PROXY", err: `its answer has "PROXY": the proxy's HOST:PORT is missing`},
		{list: "PROXY a:1 b:2", err: "a semicolon is missing"},
		{list: "PROXY a:1, PROXY b:2", err: "a semicolon is missing"},
		{list: "DIRECT a:1", err: "DIRECT stands alone"},
		{list: "PROXY a:99999", err: "the port is not a number from 1 to 65535"},
		{list: "PROXY a:", err: "the port is missing"},
		{list: "PROXY http://a:1", err: "HOST:PORT alone"},
		{list: "PROXY user:secret@a:1", err: "HOST:PORT alone"},
		{list: "PROXY \x1b[2J:1", err: `"PROXY \x1b[2J:1"`},
		{list: strings.Repeat("PROXY a:1;", 65), err: "more than 64 ways"},
		{list: strings.Repeat(" ", maxList+1), err: "longer than 65536 bytes"},
	} {
		routes, skipped, err := parseList(c.list, authority(t, "host.example:22"))
		var texts []string
		for _, r := range routes {
			texts = append(texts, r.String())
		}
		if got := strings.Join(texts, " "); got != c.routes {
			t.Errorf("%.60q gives %q, want %q", c.list, got, c.routes)
		}
		if got := strings.Join(skipped, " "); !strings.HasPrefix(got, c.skipped) || (got == "") != (c.skipped == "") {
			t.Errorf("%.60q skips %q, want %q", c.list, got, c.skipped)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.60q: %v, want %q", c.list, err, c.err)
		}
	}
}

func TestSOCKS4IsSkippedForIPv6(t *testing.T) {
	routes, skipped, err := parseList("SOCKS a:1080; PROXY b:80", authority(t, "[2001:db8::1]:22"))
	if err != nil || len(routes) != 1 || routes[0].String() != "http://b:80" || len(skipped) != 1 {
		t.Errorf("%v %v %v", routes, skipped, err)
	}
}

func FuzzParseList(f *testing.F) {
	for _, seed := range []string{"", "DIRECT", "PROXY a:80; HTTPS b; SOCKS c:1080; SOCKS5 d; DIRECT", "PROXY [::1]:1", "PROXY", "QUIC q;;\x00"} {
		f.Add(seed)
	}
	target := authority(f, "host.example:22")
	f.Fuzz(func(t *testing.T, list string) {
		routes, skipped, err := parseList(list, target)
		if (err == nil) != (len(routes) > 0) {
			t.Fatalf("%q: %d routes and %v", list, len(routes), err)
		}
		if len(routes)+len(skipped) > maxRoutes {
			t.Fatalf("%q: %d ways", list, len(routes)+len(skipped))
		}
		texts := skipped
		if err != nil {
			texts = append(texts, err.Error())
		}
		for _, text := range texts {
			if len(text) > 3*maxText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%q is told as %q", list, text)
			}
		}
		for _, r := range routes {
			if r.Direct() {
				continue
			}
			if h := r.Hops[0]; len(r.Hops) != 1 || h.Proxy.IsZero() || h.Credentials != nil || h.Path != "" {
				t.Fatalf("%q gives %+v", list, r)
			}
		}
	})
}
