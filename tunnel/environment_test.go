package tunnel

import (
	"strings"
	"testing"
)

func TestRouteFromEnvironment(t *testing.T) {
	const proxy = "http://proxy.corp:3128"
	for _, tt := range []struct {
		name        string
		env         map[string]string
		target      string
		route, why  string
		source, err string
	}{
		{name: "nothing set", target: "example.com:22", route: "direct", why: "no proxy variable is set"},
		{name: "empty is not set", env: map[string]string{"CULVERT_PROXY": "", "ALL_PROXY": proxy}, target: "example.com:22", route: proxy, why: "from ALL_PROXY", source: "ALL_PROXY"},
		{name: "only http_proxy", env: map[string]string{"http_proxy": proxy}, target: "example.com:22", route: "direct", why: "only http_proxy is set, which is not for tunnels: set HTTPS_PROXY"},
		{name: "only HTTP_PROXY", env: map[string]string{"HTTP_PROXY": proxy}, target: "example.com:22", route: "direct", why: "only HTTP_PROXY is set, which is not for tunnels: set HTTPS_PROXY"},
		{name: "CULVERT_PROXY comes first", env: map[string]string{"CULVERT_PROXY": proxy, "HTTPS_PROXY": "a:1", "https_proxy": "b:1", "ALL_PROXY": "c:1", "all_proxy": "d:1"}, target: "example.com:22", route: proxy, why: "from CULVERT_PROXY", source: "CULVERT_PROXY"},
		{name: "then HTTPS_PROXY", env: map[string]string{"HTTPS_PROXY": "a:1", "https_proxy": "b:1", "ALL_PROXY": "c:1"}, target: "example.com:22", route: "http://a:1", why: "from HTTPS_PROXY", source: "HTTPS_PROXY"},
		{name: "then https_proxy", env: map[string]string{"https_proxy": "b:1", "ALL_PROXY": "c:1", "all_proxy": "d:1"}, target: "example.com:22", route: "http://b:1", why: "from https_proxy", source: "https_proxy"},
		{name: "then ALL_PROXY", env: map[string]string{"ALL_PROXY": "c:1", "all_proxy": "d:1"}, target: "example.com:22", route: "http://c:1", why: "from ALL_PROXY", source: "ALL_PROXY"},
		{name: "then all_proxy", env: map[string]string{"all_proxy": "d:1"}, target: "example.com:22", route: "http://d:1", why: "from all_proxy", source: "all_proxy"},
		{name: "direct", env: map[string]string{"CULVERT_PROXY": "direct", "HTTPS_PROXY": proxy}, target: "example.com:22", route: "direct", why: "CULVERT_PROXY says so"},
		{name: "unix", env: map[string]string{"CULVERT_PROXY": "unix:/run/proxy"}, target: "example.com:22", route: "unix:/run/proxy", why: "from CULVERT_PROXY", source: "CULVERT_PROXY"},
		{name: "in a CGI program too", env: map[string]string{"HTTPS_PROXY": proxy, "REQUEST_METHOD": "GET"}, target: "example.com:22", route: proxy, why: "from HTTPS_PROXY", source: "HTTPS_PROXY"},
		{name: "https", env: map[string]string{"HTTPS_PROXY": "https://proxy.corp"}, target: "example.com:22", route: "https://proxy.corp:443", why: "from HTTPS_PROXY", source: "HTTPS_PROXY"},
		{name: "unsupported scheme", env: map[string]string{"HTTPS_PROXY": "quic://u:secret@proxy.corp"}, target: "example.com:22", err: `HTTPS_PROXY: proxy "quic://proxy.corp": the scheme "quic" is not supported`},
		{name: "socks", env: map[string]string{"ALL_PROXY": "socks9://u:secret@proxy.corp:1080"}, target: "example.com:22", err: `ALL_PROXY: proxy "socks9://proxy.corp:1080": the scheme "socks9" is not supported`},
		{name: "several hops", env: map[string]string{"CULVERT_PROXY": "http://u:secret@a:1,http://b:2"}, target: "example.com:22", err: "CULVERT_PROXY: a variable holds one proxy"},
		{name: "nonsense", env: map[string]string{"HTTPS_PROXY": "http://u:secret@a b"}, target: "example.com:22", err: `HTTPS_PROXY: proxy "http://a b": `},

		{name: "NO_PROXY name", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "corp, example.com"}, target: "example.com:22", route: "direct", why: "NO_PROXY has example.com"},
		{name: "NO_PROXY covers subdomains", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "example.com"}, target: "www.example.com:22", route: "direct", why: "NO_PROXY has example.com"},
		{name: "NO_PROXY is no suffix match", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "example.com"}, target: "notexample.com:22", route: proxy, why: "from HTTPS_PROXY", source: "HTTPS_PROXY"},
		{name: "NO_PROXY with a dot is for subdomains", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": ".example.com"}, target: "example.com:22", route: proxy, why: "from HTTPS_PROXY", source: "HTTPS_PROXY"},
		{name: "NO_PROXY with a port", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "example.com:22"}, target: "example.com:22", route: "direct", why: "NO_PROXY has example.com:22"},
		{name: "NO_PROXY with another port", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "example.com:23"}, target: "example.com:22", route: proxy, why: "from HTTPS_PROXY", source: "HTTPS_PROXY"},
		{name: "NO_PROXY star", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "*"}, target: "example.com:22", route: "direct", why: "NO_PROXY has *"},
		{name: "NO_PROXY CIDR", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "10.0.0.0/8"}, target: "10.1.2.3:22", route: "direct", why: "NO_PROXY has 10.0.0.0/8"},
		{name: "NO_PROXY IPv6 CIDR", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "2001:db8::/32"}, target: "[2001:db8::5]:22", route: "direct", why: "NO_PROXY has 2001:db8::/32"},
		{name: "NO_PROXY comes before no_proxy", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "a", "no_proxy": "example.com"}, target: "example.com:22", route: proxy, why: "from HTTPS_PROXY", source: "HTTPS_PROXY"},
		{name: "no_proxy", env: map[string]string{"HTTPS_PROXY": proxy, "no_proxy": "example.com"}, target: "example.com:22", route: "direct", why: "no_proxy has example.com"},
		{name: "NO_PROXY is for CULVERT_PROXY too", env: map[string]string{"CULVERT_PROXY": proxy, "NO_PROXY": "example.com"}, target: "example.com:22", route: "direct", why: "NO_PROXY has example.com"},
		{name: "an exempt target needs no proxy that can be used", env: map[string]string{"HTTPS_PROXY": "socks9://x", "NO_PROXY": "example.com"}, target: "example.com:22", route: "direct", why: "NO_PROXY has example.com"},
		{name: "what is shown of NO_PROXY is escaped", env: map[string]string{"HTTPS_PROXY": proxy, "NO_PROXY": "*.com\x1b,*"}, target: "example.com:22", route: "direct", why: `NO_PROXY has *`},
		{name: "localhost", env: map[string]string{"HTTPS_PROXY": proxy}, target: "localhost:22", route: "direct", why: "this machine is not for a proxy to reach"},
		{name: "loopback", env: map[string]string{"HTTPS_PROXY": proxy}, target: "127.8.9.10:22", route: "direct", why: "this machine is not for a proxy to reach"},
		{name: "IPv6 loopback", env: map[string]string{"CULVERT_PROXY": proxy}, target: "[::1]:22", route: "direct", why: "this machine is not for a proxy to reach"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target, err := ParseAuthority(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			route, why, err := RouteFromEnvironment(target, func(name string) string { return tt.env[name] })
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) || strings.Contains(err.Error(), "secret") {
					t.Errorf("error %v, want %s…", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if route.String() != tt.route || why != tt.why || route.Source != tt.source {
				t.Errorf("%s, %q, source %q\nwant %s, %q, source %q", route, why, route.Source, tt.route, tt.why, tt.source)
			}
		})
	}
}
