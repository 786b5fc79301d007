package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// leavingRequests are requests to TARGET, without anything behind their heads.
var leavingRequests = map[string]string{
	"CONNECT": "CONNECT TARGET HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET":     "GET http://TARGET/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST":    "POST http://TARGET/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
	"upgrade": "GET http://TARGET/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
}

// A client that leaves while its name is resolved gives back what it holds, although the
// look-up has no end.
func TestClientThatLeavesGivesBackAtOnce(t *testing.T) {
	leave := map[string]func(net.Conn){
		"closes": func(conn net.Conn) { conn.Close() },
		"resets": func(conn net.Conn) {
			if secure, ok := conn.(*tls.Conn); ok {
				conn = secure.NetConn()
			}
			testkit.Reset(conn)
		},
	}
	for kind, request := range leavingRequests {
		for how, leaves := range leave {
			for _, secure := range []bool{false, true} {
				name := kind + " " + how
				start, over := startServer, func(conn net.Conn) net.Conn { return conn }
				if secure {
					name += " over TLS"
					start, over = startSecure, func(conn net.Conn) net.Conn { return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) }
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					resolver, asked, _ := testkit.ResolveLate()
					ts := start(t, &Server{Resolver: resolver, ConnectTimeout: -1})
					conn := over(ts.Dial())
					testkit.Send(t, conn, strings.ReplaceAll(request, "TARGET", "a.test:80"))
					testkit.Await(t, "the resolver", asked)
					ts.awaitRequests("127.0.0.1", 1)
					leaves(conn)
					ts.NextRecord(accesslog.EventRequest).Want(t, "error", "connection_terminated")
					ts.awaitRequests("127.0.0.1", 0)
					for kind := quota.Client; kind <= quota.Lookup; kind++ {
						ts.awaitHeld(kind, 0)
					}
				})
			}
		}
	}
}

// A stream that is reset, and the streams of a connection that is closed, give back what
// they hold.
func TestStreamThatIsResetGivesBackAtOnce(t *testing.T) {
	for _, kind := range []string{"CONNECT", "GET"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			resolver, asked, _ := testkit.ResolveLate()
			ts := startServer(t, &Server{Resolver: resolver, ConnectTimeout: -1})
			c := ts.client2()
			var streams []*h2.Stream
			for range 5 {
				streams = append(streams, ask2(ts, c, kind, "a.test:80"))
			}
			testkit.Await(t, "the resolver", asked)
			ts.awaitRequests("127.0.0.1", 5)
			for _, s := range streams[:3] {
				s.Reset(h2.CodeCancel)
				s.Close()
			}
			ts.awaitRequests("127.0.0.1", 2)
			ts.awaitHeld(quota.Dial, 2)
			ts.awaitHeld(quota.Client, 1)
			c.Close()
			ts.awaitRequests("127.0.0.1", 0)
			for kind := quota.Client; kind <= quota.Lookup; kind++ {
				ts.awaitHeld(kind, 0)
			}
		})
	}
}

// An end of file behind bytes that are held is a half-close: the client keeps its place,
// and gets its answer.
func TestHalfCloseBehindEarlyBytesKeepsItsPlace(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	origin := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")...)
	_, port, _ := net.SplitHostPort(origin.Addr())
	for name, tt := range map[string]struct{ text, want string }{
		"CONNECT":           {proxytest.ConnectHead("a.test:"+echo.Port()) + "early", established + "early"},
		"CONNECT, much":     {proxytest.ConnectHead("a.test:"+echo.Port()) + strings.Repeat("e", 9000), established + strings.Repeat("e", 9000)},
		"content of a POST": {"POST http://a.test:" + port + "/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", "HTTP/1.1 200 OK\r\n"},
	} {
		for _, secure := range []bool{false, true} {
			if secure {
				name += " over TLS"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				release := make(chan struct{})
				asked := make(chan string, 2)
				resolver := testkit.FakeResolver(func(ctx context.Context, host string) ([]netip.Addr, error) {
					asked <- host
					select {
					case <-release:
						return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				})
				start, over := startServer, func(conn net.Conn) net.Conn { return conn }
				if secure {
					start, over = startSecure, func(conn net.Conn) net.Conn { return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) }
				}
				ts := start(t, &Server{Resolver: resolver, ConnectTimeout: -1})
				conn := over(ts.Dial())
				testkit.Send(t, conn, tt.text)
				testkit.HalfClose(t, conn)
				testkit.Receive(t, "the resolver", asked)
				// Another leaves later: once that was noticed, the first was looked at too.
				for range 2 {
					other := over(testkit.DialFrom(t, "127.0.0.2", ts.Addr))
					testkit.Send(t, other, proxytest.ConnectHead("b.test:80"))
					testkit.Receive(t, "the resolver", asked)
					other.Close()
					ts.awaitRequests("127.0.0.2", 0)
				}
				ts.awaitRequests("127.0.0.1", 1)
				close(release)
				testkit.Expect(t, conn, tt.want)
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	}
}
