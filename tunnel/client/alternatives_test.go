package client_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// The next route is tried after a failure to resolve, to connect or of TLS, after a
// timeout, 502, 503 and 504, and never after 403 or 407.
func TestOr(t *testing.T) {
	answer := func(reply string) func(*testing.T) string {
		return func(t *testing.T) string { return tunneltest.StartProxy(t, tunneltest.Answer(reply)...).Addr() }
	}
	for _, tt := range []struct {
		name  string
		first func(*testing.T) string
		taken bool
	}{
		{"unresolved", func(*testing.T) string { return "proxy.invalid:1" }, true},
		{"refused", func(t *testing.T) string { return tunneltest.Unused(t) }, true},
		{"silent", func(t *testing.T) string { return tunneltest.StartProxy(t, tunneltest.Hold).Addr() }, true},
		{"no TLS", func(t *testing.T) string {
			return "https://" + tunneltest.StartProxy(t, tunneltest.Send("HTTP/1.1 400 No\r\n\r\n"), tunneltest.Finish).Addr()
		}, true},
		{"502", answer("HTTP/1.1 502 No\r\n\r\n"), true},
		{"503", answer("HTTP/1.1 503 No\r\n\r\n"), true},
		{"504", answer("HTTP/1.1 504 No\r\n\r\n"), true},
		{"SOCKS could not", func(t *testing.T) string {
			return "socks4a://" + tunneltest.Start(t, func(conn net.Conn) {
				io.ReadFull(conn, make([]byte, 9))
				conn.Write([]byte{0, 91, 0, 0, 0, 0, 0, 0})
			}).Addr()
		}, true},
		{"502 that says denied", answer("HTTP/1.1 502 No\r\nProxy-Status: p; error=http_request_denied\r\n\r\n"), false},
		{"403", answer("HTTP/1.1 403 No\r\n\r\n"), false},
		{"407", answer("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n"), false},
		{"302", answer("HTTP/1.1 302 No\r\nLocation: http://portal/\r\n\r\n"), false},
		{"no proxy", answer("SSH-2.0-x\r\n"), false},
		{"no word", answer(""), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target := tunneltest.Start(t, tunneltest.Greet("hello\n"))
			second := tunneltest.StartProxy(t, tunneltest.Honest()...)
			first := tt.first(t)
			c := clienttest.Proxied(t, first)
			c.Resolver = testkit.FailingResolver{Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
			c.Timeout = 3 * time.Second
			c.Header = []client.Field{clienttest.Field("Proxy-Authorization", "Bearer s3cret")}
			c.Or = []tunnel.Route{testkit.MustRoute(t, "http://"+second.Addr()), {}}
			var abandoned []string
			c.Trace = &client.Trace{Abandoned: func(r tunnel.Route, why error, next tunnel.Route) {
				abandoned = append(abandoned, next.String())
				if tunnel.ExitCode(why) == tunnel.ExitOK || !strings.Contains(r.String(), first[strings.LastIndexByte(first, '/')+1:]) {
					t.Errorf("%s was abandoned for %v", r, why)
				}
			}}
			conn, err := c.Open(t.Context(), testkit.MustAuthority(t, target.Addr()))
			if (err == nil) != tt.taken {
				t.Fatalf("Open: %v", err)
			}
			heads := strings.Join(second.Heads(), "")
			if !tt.taken {
				if heads != "" || abandoned != nil {
					t.Errorf("the second proxy got %q", heads)
				}
				return
			}
			defer conn.Close()
			testkit.Expect(t, conn, "hello\n")
			if len(abandoned) != 1 || abandoned[0] != "http://"+second.Addr() {
				t.Errorf("Abandoned was called with %q", abandoned)
			}
			if strings.Contains(heads, "s3cret") {
				t.Errorf("the second proxy got the first one's credentials: %q", heads)
			}
		})
	}
}

// If no route leads to the target, the error is that of the last one, with its source.
// If a route is invalid, none is tried.
func TestOrEnds(t *testing.T) {
	unused := tunneltest.Unused(t)
	c := clienttest.Proxied(t, unused)
	c.Or = []tunnel.Route{testkit.MustRoute(t, "http://"+unused), {}}
	c.Or[0].Source = "--or"
	_, err := c.Open(t.Context(), testkit.MustAuthority(t, unused))
	clienttest.WantExplained(t, err, unused+" refused the connection", "nothing listens on port "+unused[strings.LastIndexByte(unused, ':')+1:]+" there: check the port, or whether the server runs")
	c.Or = c.Or[:1]
	_, err = c.Open(t.Context(), testkit.MustAuthority(t, unused))
	clienttest.WantExplained(t, err, "proxy "+unused+" refused the connection", "nothing listens there: check the proxy's port in --or, or whether the proxy runs")

	p := tunneltest.StartProxy(t, tunneltest.Honest()...)
	c = clienttest.Proxied(t, p.Addr())
	c.Or = []tunnel.Route{{Hops: []tunnel.Hop{{Scheme: "quic"}}}}
	if _, err = c.Open(t.Context(), testkit.MustAuthority(t, unused)); err == nil || len(p.Heads()) != 0 {
		t.Errorf("an alternative that cannot be used: %v, after %q", err, p.Heads())
	}
}
