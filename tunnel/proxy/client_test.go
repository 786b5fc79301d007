package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/listen"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// routeTo returns a route through the Server, over TLS or not.
func routeTo(tb testing.TB, scheme string, ts *testServer) tunnel.Route {
	tb.Helper()
	r := testkit.MustRoute(tb, scheme+"://"+ts.Addr)
	if scheme == tunnel.SchemeHTTPS || scheme == tunnel.SchemeH2 {
		r.Hops[0].TLS = &tunnel.TLSOptions{Insecure: true}
	}
	return r
}

func startSecure(tb testing.TB, s *Server) *testServer {
	tb.Helper()
	pair, _, err := listen.SelfSigned()
	if err != nil {
		tb.Fatal(err)
	}
	return startServerOn(tb, s, listen.NewTLS(testkit.Listen(tb, "127.0.0.1:0"), &tls.Config{Certificates: []tls.Certificate{pair}}))
}

// Tunnels behave in the same way with every scheme of a proxy: early bytes, half-close
// in each direction, resets, refusals.
func TestClientSchemes(t *testing.T) {
	for _, scheme := range []string{tunnel.SchemeHTTP, tunnel.SchemeHTTPS, tunnel.SchemeH2, tunnel.SchemeH2C} {
		t.Run(scheme, func(t *testing.T) {
			server := &Server{Policy: policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "denied.test")}}}
			start := startServer
			if scheme == tunnel.SchemeHTTPS || scheme == tunnel.SchemeH2 {
				start = startSecure
			}
			ts := start(t, server)
			c := clienttest.NewClient(t, routeTo(t, scheme, ts))

			conn := clienttest.MustOpen(t, c, tunneltest.Start(t, tunneltest.Greet("hello ")).Addr())
			testkit.Send(t, conn, "there")
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			testkit.ExpectLast(t, conn, "hello there")
			want := "http/2"
			if scheme == tunnel.SchemeHTTP {
				want = "http/1.1"
			}
			ts.NextRecord(accesslog.EventClose).Want(t, "protocol", want)

			torn := clienttest.MustOpen(t, c, tunneltest.Start(t, tunneltest.ResetAfter("hello", 4)).Addr())
			testkit.Send(t, torn, "ping")
			if got, err := io.ReadAll(torn); string(got) != "hello" || scheme != tunnel.SchemeHTTPS && !neterr.Reset(err) || err == nil {
				t.Errorf("a reset is %q, %v", got, err)
			}

			_, err := c.Open(t.Context(), testkit.MustAuthority(t, "denied.test:443"))
			var e *tunnel.Error
			if !errors.As(err, &e) || e.Status != 403 || e.Type != tunnel.ErrorDenied || !strings.Contains(e.Error(), "the host is denied here") && e.Detail == "" || e.ExitCode() != tunnel.ExitRefused {
				t.Errorf("a refusal is %v", err)
			}
		})
	}
}

// The tunnels of a Client share an HTTP/2 connection, up to the number of streams that
// it allows.
func TestClientSharesConnections(t *testing.T) {
	ts := startServer(t, &Server{})
	var mu sync.Mutex
	connects := 0
	c := clienttest.NewClient(t, routeTo(t, tunnel.SchemeH2C, ts))
	c.Trace = &client.Trace{Connected: func(string, error) { mu.Lock(); connects++; mu.Unlock() }}
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	var all sync.WaitGroup
	conns := make([]net.Conn, 100)
	for i := range conns {
		all.Go(func() {
			conn, err := c.DialContext(t.Context(), "tcp", echo)
			if err != nil {
				t.Error(err)
				return
			}
			conns[i] = conn
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if connects != 1 {
		t.Errorf("100 tunnels took %d connections", connects)
	}
	for i, conn := range conns {
		conn.SetDeadline(time.Now().Add(testkit.Patience))
		testkit.Send(t, conn, fmt.Sprint(i))
		testkit.Expect(t, conn, fmt.Sprint(i))
	}
	for range 200 { // more than one connection allows
		conn := clienttest.MustOpen(t, c, echo)
		testkit.Send(t, conn, "x")
		testkit.Expect(t, conn, "x")
	}
	if connects != 2 {
		t.Errorf("300 tunnels took %d connections, of which each takes 250", connects)
	}
	c.CloseIdleConnections()
	late := clienttest.MustOpen(t, c, echo)
	testkit.Send(t, late, "x")
	testkit.Expect(t, late, "x")
	if connects != 3 {
		t.Errorf("after CloseIdleConnections there were %d connections", connects)
	}
	testkit.Send(t, conns[0], "still there")
	testkit.Expect(t, conns[0], "still there")
	for _, conn := range conns {
		conn.Close()
	}
}

// streams returns the server's one HTTP/2 connection, nil if there is none yet.
func (ts *testServer) streams() (over *h2.Conn) {
	ts.server.run.mu.Lock()
	defer ts.server.run.mu.Unlock()
	for conn := range ts.server.run.conns {
		conn.mu.Lock()
		over = conn.streams
		conn.mu.Unlock()
	}
	return over
}

// A connection that the proxy ends is replaced by another.
func TestClientReplacesConnections(t *testing.T) {
	ts := startServer(t, &Server{})
	c := clienttest.NewClient(t, routeTo(t, tunnel.SchemeH2C, ts))
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	first := clienttest.MustOpen(t, c, echo)
	testkit.Send(t, first, "x")
	testkit.Expect(t, first, "x")
	var ours *h2.Conn
	for deadline := time.Now().Add(testkit.Patience); ours == nil && time.Now().Before(deadline); {
		ours = ts.streams() // set soon after the first stream is served
	}
	if ours == nil {
		t.Fatal("the server has no connection of HTTP/2")
	}
	ours.Shutdown() // GOAWAY; the tunnel stays
	for range 3 {
		conn := clienttest.MustOpen(t, c, echo)
		testkit.Send(t, conn, "x")
		testkit.Expect(t, conn, "x")
	}
	testkit.Send(t, first, "y")
	testkit.Expect(t, first, "y")
}

// Chains of mixed schemes carry 8 MiB each way by checksum.
func TestClientChains(t *testing.T) {
	const size = 8 << 20
	plain := startServer(t, &Server{})
	secures := []*testServer{startSecure(t, &Server{}), startSecure(t, &Server{})}
	target := tunneltest.Start(t, tunneltest.Echo).Addr()
	for _, schemes := range [][2]string{{"http", "h2"}, {"h2", "http"}, {"h2c", "h2"}, {"h2", "h2c"}, {"https", "https"}, {"https", "h2c"}} {
		t.Run(strings.Join(schemes[:], ","), func(t *testing.T) {
			var r tunnel.Route
			for i, scheme := range schemes {
				at := plain
				if scheme == "https" || scheme == "h2" {
					at = secures[i]
				}
				r.Hops = append(r.Hops, routeTo(t, scheme, at).Hops...)
			}
			c := clienttest.NewClient(t, r)
			for range 2 { // the second over the connections of the first
				conn := clienttest.MustOpen(t, c, target)
				sent := make(chan error, 1)
				go func() {
					_, err := io.Copy(conn, io.LimitReader(rand.NewChaCha8([32]byte{1}), size))
					sent <- errors.Join(err, conn.CloseWrite())
				}()
				got, want := sha256.New(), sha256.New()
				n, err := io.Copy(got, conn)
				io.Copy(want, io.LimitReader(rand.NewChaCha8([32]byte{1}), size))
				if err := errors.Join(err, <-sent); err != nil || n != size || string(got.Sum(nil)) != string(want.Sum(nil)) {
					t.Errorf("%d bytes of %d, %v", n, size, err)
				}
			}
		})
	}
}

// A Server uses parents of every scheme, for tunnels and plain requests, and tunnels
// share the connection to a parent that speaks HTTP/2.
func TestViaOverTLSAndHTTP2(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s via %s", r.URL, r.Header.Get("Via"))
	}))
	t.Cleanup(origin.Close)
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	for _, tt := range []struct{ scheme, via string }{
		{tunnel.SchemeHTTP, "1.1 child, 1.1 parent"}, {tunnel.SchemeHTTPS, "1.1 child, 1.1 parent"}, {tunnel.SchemeH2, "1.1 child"}, {tunnel.SchemeH2C, "1.1 child"},
	} {
		t.Run(tt.scheme, func(t *testing.T) {
			start := startServer
			if tt.scheme == tunnel.SchemeHTTPS || tt.scheme == tunnel.SchemeH2 {
				start = startSecure
			}
			parent := start(t, &Server{Name: "parent"})
			child := startServer(t, &Server{Name: "child", Via: []ViaRule{{Route: routeTo(t, tt.scheme, parent)}}})
			for range 3 {
				conn := child.Open(echo)
				testkit.Send(t, conn, "through both")
				testkit.HalfClose(t, conn)
				testkit.ExpectLast(t, conn, "through both")
				child.NextRecord(accesslog.EventClose).WantNumber(t, "up", 12)
			}
			parent.server.run.mu.Lock()
			tunnels := len(parent.server.run.conns)
			parent.server.run.mu.Unlock()
			if shares := tt.scheme != tunnel.SchemeHTTP; shares && tunnels != 1 {
				t.Errorf("three tunnels one after the other left %d connections to the parent", tunnels)
			}
			a := child.Ask("GET " + origin.URL + "/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if want := "/x via " + tt.via; a.Status != 200 || a.Body != want {
				t.Errorf("a plain request got %d %q, want %q", a.Status, a.Body, want)
			}
			child.NextRecord(accesslog.EventRequest)
			child.Refused(proxytest.ConnectHead(tunneltest.Unused(t)), 502, "connection_refused")
		})
	}
}

// An answer that is not HTTP/2 is explained.
func TestClientOfNoHTTP2(t *testing.T) {
	open := func(proxy *tunneltest.Proxy) *tunnel.Error {
		t.Helper()
		_, err := clienttest.NewClient(t, testkit.MustRoute(t, "h2c://"+proxy.Addr())).Open(t.Context(), testkit.MustAuthority(t, "example.test:443"))
		var e *tunnel.Error
		if !errors.As(err, &e) {
			t.Fatalf("the error is %v", err)
		}
		return e
	}
	read := func(turn *tunneltest.Turn) bool { // the preface's first line
		_, err := io.ReadFull(turn.Conn, make([]byte, len(h2.Preface)))
		return err == nil
	}
	e := open(tunneltest.StartProxy(t, read, tunneltest.Send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), tunneltest.Finish))
	if sentence, hint := explain.Error(e); e.ExitCode() != tunnel.ExitNotAProxy || !strings.Contains(sentence, `it does not speak HTTP/2: it begins with "HTTP/1.1 400 Bad Request"`) || !strings.Contains(hint, "use http://") {
		t.Errorf("an HTTP/1 proxy: %d %s / %s", e.ExitCode(), sentence, hint)
	}
	e = open(tunneltest.StartProxy(t, read, tunneltest.Finish))
	if sentence, _ := explain.Error(e); e.Type != tunnel.ErrorConnectionTerminated {
		t.Errorf("one that hangs up: %d %s", e.ExitCode(), sentence)
	}
	silent := tunneltest.StartProxy(t, read, tunneltest.Hold)
	testkit.WithLimits(func(limit time.Duration, last bool) bool {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := clienttest.NewClient(t, testkit.MustRoute(t, "h2c://"+silent.Addr())).Open(ctx, testkit.MustAuthority(t, "example.test:443"))
		ok := tunnel.ExitCode(err) == tunnel.ExitDeadline
		if last && !ok {
			t.Errorf("a silent one: %d %v", tunnel.ExitCode(err), err)
		}
		return ok
	})
}

// A stream that a proxy resets before its answer is reported by the reset's code.
func TestClientStreamsThatAreReset(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle func(s *h2.Stream)
		words  string
	}{
		{"refused", func(s *h2.Stream) { s.Reset(h2.CodeRefusedStream) }, "the stream was reset with REFUSED_STREAM"},
		{"cancelled", func(s *h2.Stream) { s.Reset(h2.CodeConnect) }, "the stream was reset with CONNECT_ERROR"},
		{"cut", func(s *h2.Stream) { s.Conn().Close() }, "closed the connection without an answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := tunneltest.Start(t, func(conn net.Conn) {
				h2.Server(conn, h2.Config{}, func(s *h2.Stream, _ h2.Head) { tt.handle(s) }).Wait()
			})
			_, err := clienttest.NewClient(t, testkit.MustRoute(t, "h2c://"+proxy.Addr())).Open(t.Context(), testkit.MustAuthority(t, "example.test:443"))
			if sentence, _ := explain.Error(err); err == nil || !strings.Contains(sentence, tt.words) {
				t.Errorf("the error is %q, want %q in it", sentence, tt.words)
			}
		})
	}
}
