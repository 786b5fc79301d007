package tunnel_test

import (
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

// Only equal routes share connections. Hops, their credentials and TLSOptions must
// be equal; Sources need not be.
func TestRouteEqual(t *testing.T) {
	options := &tunnel.TLSOptions{Insecure: true}
	secure := func(options *tunnel.TLSOptions) tunnel.Route {
		r := testkit.MustRoute(t, "https://a:1")
		r.Hops[0].TLS = options
		return r
	}
	named := testkit.MustRoute(t, "http://u:p@a:1,http://b:2")
	named.Source, named.Hops[0].Credentials.Source = "HTTPS_PROXY", "--proxy-user"
	for name, tt := range map[string]struct {
		a, b tunnel.Route
		want bool
	}{
		"direct":                     {tunnel.Route{}, tunnel.Route{}, true},
		"direct and a hop":           {tunnel.Route{}, testkit.MustRoute(t, "http://a:1"), false},
		"apart in memory":            {testkit.MustRoute(t, "http://u:p@a:1,http://b:2"), testkit.MustRoute(t, "http://u:p@A:1,http://b:2"), true},
		"another source":             {testkit.MustRoute(t, "http://u:p@a:1,http://b:2"), named, true},
		"another user":               {testkit.MustRoute(t, "http://u:p@a:1"), testkit.MustRoute(t, "http://v:p@a:1"), false},
		"another password":           {testkit.MustRoute(t, "http://u:p@a:1"), testkit.MustRoute(t, "http://u:q@a:1"), false},
		"no credentials":             {testkit.MustRoute(t, "http://u:p@a:1"), testkit.MustRoute(t, "http://a:1"), false},
		"another scheme":             {testkit.MustRoute(t, "http://a:443"), testkit.MustRoute(t, "https://a:443"), false},
		"another port":               {testkit.MustRoute(t, "http://a:1"), testkit.MustRoute(t, "http://a:2"), false},
		"fewer hops":                 {testkit.MustRoute(t, "http://a:1"), testkit.MustRoute(t, "http://a:1,http://b:2"), false},
		"other order":                {testkit.MustRoute(t, "http://a:1,http://b:2"), testkit.MustRoute(t, "http://b:2,http://a:1"), false},
		"socket":                     {testkit.MustRoute(t, "unix:/a"), testkit.MustRoute(t, "unix:/a"), true},
		"another socket":             {testkit.MustRoute(t, "unix:/a"), testkit.MustRoute(t, "unix:/b"), false},
		"the same TLS options":       {secure(options), secure(options), true},
		"TLS options of another hop": {secure(options), secure(&tunnel.TLSOptions{Insecure: true}), false},
		"no TLS options":             {secure(options), secure(nil), false},
	} {
		if got := tt.a.Equal(tt.b); got != tt.want || tt.b.Equal(tt.a) != got {
			t.Errorf("%s: %v and %v are equal: %v, want %v", name, tt.a, tt.b, got, tt.want)
		}
	}
}
