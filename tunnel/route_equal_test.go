package tunnel

import "testing"

// Only equal routes share connections: a hop, its credentials and its TLS count,
// what named them does not.
func TestRouteEqual(t *testing.T) {
	options := &TLSOptions{Insecure: true}
	secure := func(options *TLSOptions) Route {
		r := mustRoute(t, "https://a:1")
		r.Hops[0].TLS = options
		return r
	}
	named := mustRoute(t, "http://u:p@a:1,http://b:2")
	named.Source, named.Hops[0].Credentials.Source = "HTTPS_PROXY", "--proxy-user"
	for name, tt := range map[string]struct {
		a, b Route
		want bool
	}{
		"direct":                     {Route{}, Route{}, true},
		"direct and a hop":           {Route{}, mustRoute(t, "http://a:1"), false},
		"apart in memory":            {mustRoute(t, "http://u:p@a:1,http://b:2"), mustRoute(t, "http://u:p@A:1,http://b:2"), true},
		"another source":             {mustRoute(t, "http://u:p@a:1,http://b:2"), named, true},
		"another user":               {mustRoute(t, "http://u:p@a:1"), mustRoute(t, "http://v:p@a:1"), false},
		"another password":           {mustRoute(t, "http://u:p@a:1"), mustRoute(t, "http://u:q@a:1"), false},
		"no credentials":             {mustRoute(t, "http://u:p@a:1"), mustRoute(t, "http://a:1"), false},
		"another scheme":             {mustRoute(t, "http://a:443"), mustRoute(t, "https://a:443"), false},
		"another port":               {mustRoute(t, "http://a:1"), mustRoute(t, "http://a:2"), false},
		"fewer hops":                 {mustRoute(t, "http://a:1"), mustRoute(t, "http://a:1,http://b:2"), false},
		"other order":                {mustRoute(t, "http://a:1,http://b:2"), mustRoute(t, "http://b:2,http://a:1"), false},
		"socket":                     {mustRoute(t, "unix:/a"), mustRoute(t, "unix:/a"), true},
		"another socket":             {mustRoute(t, "unix:/a"), mustRoute(t, "unix:/b"), false},
		"the same TLS options":       {secure(options), secure(options), true},
		"TLS options of another hop": {secure(options), secure(&TLSOptions{Insecure: true}), false},
		"no TLS options":             {secure(options), secure(nil), false},
	} {
		if got := tt.a.Equal(tt.b); got != tt.want || tt.b.Equal(tt.a) != got {
			t.Errorf("%s: %v and %v are equal: %v, want %v", name, tt.a, tt.b, got, tt.want)
		}
	}
}
