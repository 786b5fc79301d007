package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/relay"
	"culvert/tunnel/tunneltest"
)

// shutdown begins a Shutdown without a limit, and returns once it has begun.
func (ts *testServer) shutdown(ctx context.Context) <-chan error {
	ts.Helper()
	done := make(chan error, 1)
	go func() { done <- ts.server.Shutdown(ctx) }()
	testkit.Eventually(ts, "drain has begun", ts.server.run.draining.Load)
	return done
}

func TestShutdownWithoutClients(t *testing.T) {
	listener := testkit.Listen(t, "127.0.0.1:0")
	ts := startServerOn(t, &Server{}, listener)
	ts.Dial().Close()
	if err := ts.server.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	if err := ts.server.Shutdown(context.Background()); err != nil {
		t.Errorf("a second Shutdown returned %v", err)
	}
	if err := ts.server.Close(); err != nil {
		t.Errorf("Close after it returned %v", err)
	}
	testkit.WantClosed(t, listener)
}

// A Server that was stopped before Serve, or while Serve begins, closes the listener and
// serves no client.
func TestServeAfterTheEnd(t *testing.T) {
	stops := map[string]func(*Server) error{
		"Shutdown": func(s *Server) error { return s.Shutdown(context.Background()) },
		"Close":    (*Server).Close,
	}
	for name, stop := range stops {
		t.Run(name+" before", func(t *testing.T) {
			s, l := &Server{}, testkit.Listen(t, "127.0.0.1:0")
			waiting := testkit.Dial(t, "tcp", l.Addr().String())
			if err := stop(s); err != nil {
				t.Error(err)
			}
			if err := s.Serve(l); !errors.Is(err, ErrServerClosed) {
				t.Errorf("Serve returned %v", err)
			}
			testkit.WantClosed(t, l)
			if b, err := io.ReadAll(waiting); len(b) > 0 || err != nil && !neterr.Reset(err) {
				t.Errorf("a client that was waiting got %q, %v", b, err)
			}
		})
		t.Run(name+" meanwhile", func(t *testing.T) {
			for range 50 {
				s, l := &Server{}, testkit.Listen(t, "127.0.0.1:0")
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				if err := stop(s); err != nil {
					t.Error(err)
				}
				if err := testkit.Receive(t, "Serve", served); !errors.Is(err, ErrServerClosed) {
					t.Errorf("Serve returned %v", err)
				}
				testkit.WantClosed(t, l)
			}
		})
	}
}

// Connections without a request are closed at once, new ones and kept ones.
func TestShutdownClosesWaitingConnections(t *testing.T) {
	ts := startServer(t, &Server{HeaderTimeout: time.Hour, KeepAliveTimeout: time.Hour})
	origin := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 204 No Content\r\n\r\n"), tunneltest.Hold)
	fresh := ts.Dial()
	kept := ts.Dial()
	testkit.Send(t, kept, "GET http://"+origin.Addr()+"/ HTTP/1.1\r\nHost: a\r\n\r\n")
	ts.NextRecord(accesslog.EventRequest)
	testkit.Eventually(t, "both wait for a request", func() bool { return ts.waiting() == 2 })
	if err := ts.server.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	testkit.ExpectLast(t, fresh, "")
	if reply, err := io.ReadAll(kept); err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 204 ") || strings.Count(string(reply), "HTTP/1.1") != 1 {
		t.Errorf("the kept connection got %q, %v", reply, err)
	}
}

// A request that is under way is finished, and its connection is not kept.
func TestShutdownFinishesARequest(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	origin := tunneltest.StartProxy(t, tunneltest.ReadHead, func(*tunneltest.Turn) bool { close(asked); return true },
		tunneltest.Wait(release), tunneltest.Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), tunneltest.Hold)
	ts := startServer(t, &Server{KeepAliveTimeout: time.Hour})
	conn := ts.Dial()
	testkit.Send(t, conn, "GET http://"+origin.Addr()+"/ HTTP/1.1\r\nHost: a\r\n\r\n")
	testkit.Await(t, "the origin", asked)
	done := ts.shutdown(context.Background())
	close(release)
	if a := proxytest.ReadAnswer(t, conn); a.Status != 200 || a.Body != "hello" {
		t.Errorf("the answer is %q", a.Raw)
	}
	conn.Close() // Shutdown would wait for it
	if err := testkit.Receive(t, "Shutdown", done); err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
}

// waiting returns the number of connections that wait for a request.
func (ts *testServer) waiting() (n int) {
	ts.server.run.mu.Lock()
	defer ts.server.run.mu.Unlock()
	for c := range ts.server.run.conns {
		c.mu.Lock()
		if c.waiting {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

func TestShutdownLetsOpenTunnelsFinish(t *testing.T) {
	ts := startServer(t, &Server{})
	echo := tunneltest.Start(t, tunneltest.Echo)
	conn := ts.Open(echo.Addr())
	done := ts.shutdown(context.Background())
	if err := testkit.Receive(t, "Serve", ts.Served); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
	ts.Served <- ErrServerClosed // for the clean-up
	for range 3 {
		testkit.Send(t, conn, "hello")
		testkit.Expect(t, conn, "hello")
	}
	select {
	case err := <-done:
		t.Errorf("Shutdown did not wait for the tunnel: %v", err)
	default:
	}
	testkit.HalfClose(t, conn)
	testkit.ExpectLast(t, conn, "")
	if err := testkit.Receive(t, "Shutdown", done); err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	if !strings.Contains(ts.AccessLog.String(), `"closed_by":"client"`) {
		t.Errorf("the record is not written when Shutdown returns:\n%s", ts.AccessLog)
	}
}

// A request that has begun is refused, and the answer says why.
func TestShutdownRefusesNewTunnels(t *testing.T) {
	for _, head := range []string{proxytest.ConnectHead("example.test:443"), "GET http://example.test/ HTTP/1.1\r\nHost: a\r\n\r\n"} {
		ts := startServer(t, &Server{HeaderTimeout: time.Hour, Resolver: testkit.NeverResolve(t)})
		conn := ts.Dial()
		testkit.Send(t, conn, head[:10])
		testkit.Eventually(t, "the head has begun", func() bool { return ts.begun() == 1 })
		done := ts.shutdown(context.Background())
		testkit.Send(t, conn, head[10:])
		rec := ts.CheckRefusal(proxytest.ReadAnswer(t, conn), 503, "proxy_internal_response")
		rec.Want(t, "rule", "draining")
		conn.Close() // Shutdown would wait for it
		if err := testkit.Receive(t, "Shutdown", done); err != nil {
			t.Errorf("Shutdown returned %v", err)
		}
	}
}

// begun returns the number of connections with a request under way.
func (ts *testServer) begun() int {
	ts.server.run.mu.Lock()
	n := len(ts.server.run.conns)
	ts.server.run.mu.Unlock()
	return n - ts.waiting()
}

// A conn whose request's first byte arrives while Shutdown ends it is served, and not
// refused with 408 for the deadline that Shutdown has set.
func TestShutdownWhileAHeadBegins(t *testing.T) {
	s := &Server{}
	s.init()
	near, far := testkit.TCPPair(t)
	defer far.Close()
	defer near.Close()
	c := newClientConn(&listener{server: s, Listener: &proxytest.FakeListener{At: near.LocalAddr()}}, near)
	c.br = bufio.NewReader(&firstRead{Reader: near, then: c.shutdown})
	head := proxytest.ConnectHead("example.test:443")
	testkit.Send(t, far, head[:1])
	var rest sync.WaitGroup
	rest.Go(func() { io.WriteString(far, head[1:]) })
	defer rest.Wait()
	if q, err := c.readHead(testkit.Patience, testkit.Patience); err != nil || q.Target != "example.test:443" {
		t.Errorf("read %+v, %v", q, err)
	}
}

// firstRead calls a function after the first byte was read.
type firstRead struct {
	io.Reader
	then func()
}

func (r *firstRead) Read(b []byte) (int, error) {
	if r.then == nil {
		return r.Reader.Read(b)
	}
	n, err := r.Reader.Read(b[:1])
	r.then()
	r.then = nil
	return n, err
}

// Tunnels that are open when the context ends are closed, and their records say so.
func TestShutdownCutsWhatIsLeft(t *testing.T) {
	ts := startServer(t, &Server{})
	silent := tunneltest.Start(t, tunneltest.Silent)
	var conns []net.Conn
	for range 20 {
		conns = append(conns, ts.Open(silent.Addr()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := ts.shutdown(ctx)
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned before its context was over: %v", err)
	default:
	}
	cancel()
	if err := testkit.Receive(t, "Shutdown", done); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown returned %v", err)
	}
	if n := strings.Count(ts.AccessLog.String(), `"closed_by":"drain"`); n != len(conns) {
		t.Errorf("%d records of %d say drain when Shutdown returns:\n%s", n, len(conns), ts.AccessLog)
	}
	if strings.Contains(ts.AccessLog.String(), `"error"`) {
		t.Errorf("our own end is logged as an error:\n%s", ts.AccessLog)
	}
	for _, conn := range conns {
		testkit.ExpectLast(t, conn, "")
	}
}

func TestCloseEndsEverything(t *testing.T) {
	resolver, asked, _ := testkit.ResolveLate()
	ts := startServer(t, &Server{Resolver: resolver, HeaderTimeout: time.Hour, ConnectTimeout: time.Hour})
	silent := tunneltest.Start(t, tunneltest.Silent)
	open := ts.Open(silent.Addr())
	half := ts.Dial()
	testkit.Send(t, half, "CONNECT ")
	opening := ts.Dial()
	testkit.Send(t, opening, proxytest.ConnectHead("example.test:443"))
	testkit.Await(t, "the resolver", asked)
	testkit.Eventually(t, "half a head has come", func() bool { return ts.begun() >= 2 })
	ts.server.Close()
	ts.NextRecord(accesslog.EventClose).Want(t, "closed_by", "drain")
	for _, conn := range []net.Conn{open, half, opening} {
		// A client that waits for an answer may still get one.
		if b, err := io.ReadAll(conn); err == nil && len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
			t.Errorf("after Close there came %q", b)
		}
	}
	if n := ts.server.Open(); n != 0 {
		t.Errorf("%d slots are taken after Close", n)
	}
	// The tunnel that was being opened did not fail by its target's fault.
	if log := ts.AccessLog.String(); !strings.Contains(log, `"error":"proxy_internal_response"`) || strings.Contains(log, "destination_unavailable") || strings.Contains(log, "dns_") {
		t.Errorf("the tunnel that was being opened is logged as\n%s", log)
	}
}

// A tunnel whose 2xx is written while Shutdown closes everything is closed as well, and
// its record names the drain.
func TestShutdownBetween2xxAndRelay(t *testing.T) {
	s := &Server{}
	s.init()
	s.endAll()
	near, far := testkit.TCPPair(t)
	nearTarget, farTarget := testkit.TCPPair(t)
	defer far.Close()
	defer farTarget.Close()
	near.Close() // as endAll may have done
	results := make(chan relay.Result, 1)
	s.relay(relay.Side{Conn: near}, relay.Side{Conn: nearTarget}, func(r relay.Result) { results <- r })
	if r := testkit.Receive(t, "the relay", results); r.ClosedBy != relay.ClosedByDrain || r.Err != nil {
		t.Errorf("closed by %q with error %v, want drain and none", r.ClosedBy, r.Err)
	}
	testkit.ExpectLast(t, farTarget, "")
}

// For a moment a relay and the client connection it came from are both registered.
func TestShutdownWhileARelayIsYoung(t *testing.T) {
	for range 50 {
		s := &Server{}
		s.init()
		near, far := testkit.TCPPair(t)
		nearTarget, farTarget := testkit.TCPPair(t)
		c := &clientConn{server: s, conn: near, socket: near}
		s.run.conns[c] = struct{}{}
		results := make(chan relay.Result, 1)
		s.relay(relay.Side{Conn: near}, relay.Side{Conn: nearTarget}, func(r relay.Result) { results <- r })
		s.endAll()
		if r := testkit.Receive(t, "the relay", results); r.ClosedBy != relay.ClosedByDrain || r.Err != nil {
			t.Fatalf("closed by %q with error %v, want drain and none", r.ClosedBy, r.Err)
		}
		far.Close()
		farTarget.Close()
		s.run.loops.Close()
	}
}

// Clients come, leave and open tunnels while the server stops: every tunnel that was
// opened has its record.
func TestShutdownAmidTraffic(t *testing.T) {
	ts := startServer(t, &Server{})
	echo := tunneltest.Start(t, tunneltest.Echo)
	clients := make(chan struct{}, 16)
	for range cap(clients) {
		go func() {
			defer func() { clients <- struct{}{} }()
			for {
				conn, err := net.Dial("tcp", ts.Addr)
				if err != nil {
					return // the listener is closed
				}
				conn.SetDeadline(time.Now().Add(testkit.Patience))
				io.WriteString(conn, proxytest.ConnectHead(echo.Addr())+"hello")
				conn.(sock.HalfCloser).CloseWrite()
				io.Copy(io.Discard, conn)
				conn.Close()
			}
		}()
	}
	for range 20 {
		ts.NextRecord(accesslog.EventClose)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := ts.shutdown(ctx)
	cancel()
	testkit.Receive(t, "Shutdown", done)
	opened, closed := strings.Count(ts.AccessLog.String(), `"msg":"tunnel open"`), strings.Count(ts.AccessLog.String(), `"msg":"tunnel close"`)
	if opened != closed || ts.server.Open() != 0 {
		t.Errorf("%d tunnels opened, %d closed, %d slots taken", opened, closed, ts.server.Open())
	}
	for range cap(clients) {
		testkit.Receive(t, "a client", clients)
	}
}

// An HTTP/2 connection is known as one before the first request on it is served.
// Otherwise Shutdown would end requests that it should let finish.
func TestShutdownKnowsWhoSpeaksHTTP2(t *testing.T) {
	near, far := testkit.TCPPair(t)
	var c *clientConn
	var held bool // c.mu, by the test: serving began without it
	s := &Server{Resolver: testkit.FakeResolver(func(context.Context, string) ([]netip.Addr, error) {
		if !held {
			c.mu.Lock()
		}
		defer c.mu.Unlock()
		if c.streams == nil {
			t.Error("a request is served, and drain does not know of the streams")
		}
		return nil, &net.DNSError{IsNotFound: true}
	})}
	s.Policy.Allow = []policy.Pattern{proxytest.MustPattern(t, "*:*")}
	s.init()
	l := &proxytest.FakeListener{At: near.LocalAddr()}
	ln := &listener{server: s, Listener: l, policy: s.policyFor(l)}
	c = newClientConn(ln, &beforeServing{Conn: near, do: func() { held = c.mu.TryLock() }})
	served := make(chan struct{})
	go func() { c.serveHTTP2(); close(served) }()
	client := h2.Client(far, h2.Config{})
	stream, err := client.Open(t.Context(), []h2.Field{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "a.test:443"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if head, err := stream.ReadHead(t.Context()); err != nil || head.Status() != 502 {
		t.Errorf("the answer is %+v, %v", head, err)
	}
	stream.Close()
	client.Close()
	client.Wait()
	testkit.Await(t, "the server's end", served)
}

// beforeServing does something when its deadlines are lifted, which is the last
// step before requests are served.
type beforeServing struct {
	net.Conn
	do func()
}

func (c *beforeServing) SetDeadline(t time.Time) error {
	if c.do != nil && t.IsZero() {
		c.do()
		c.do = nil
	}
	return c.Conn.SetDeadline(t)
}
