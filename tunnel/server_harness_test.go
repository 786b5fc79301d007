package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// testServer is a Server that listens on loopback, and its access log.
type testServer struct {
	testing.TB
	server *Server
	addr   string
	log    *accessLog
	served chan error
}

// startServer starts s on 127.0.0.1; a nil Policy.Allow is any target. At the
// end of the test it is closed, and must have given every slot back.
func startServer(tb testing.TB, s *Server) *testServer {
	tb.Helper()
	return startServerOn(tb, s, listenOn(tb, "127.0.0.1:0"))
}

func startServerOn(tb testing.TB, s *Server, l net.Listener) *testServer {
	tb.Helper()
	ts := &testServer{TB: tb, server: s, addr: l.Addr().String(), log: newAccessLog(), served: make(chan error, 1)}
	if s.Policy.Allow == nil {
		s.Policy.Allow = []Pattern{mustPattern(tb, "*:*")}
	}
	s.AccessLog = ts.log.logger()
	s.init() // the tests read what it sets
	serveOn(tb, s, l, ts.served)
	tb.Cleanup(func() {
		s.Close()
		if err := <-ts.served; !errors.Is(err, ErrServerClosed) {
			tb.Errorf("Serve returned %v, want ErrServerClosed", err)
		}
		if open := s.Open(); open != 0 {
			tb.Errorf("%d slots are taken after Close", open)
		}
	})
	return ts
}

// serveOn calls Serve on a goroutine of its own, and returns once the listener
// is one of the server's: a Shutdown, or a client that asks for the listener
// itself, would otherwise depend on whether that goroutine has run yet. What
// Serve returns goes to served.
func serveOn(tb testing.TB, s *Server, l net.Listener, served chan<- error) {
	tb.Helper()
	go func() { served <- s.Serve(l) }()
	eventually(tb, "the server listens", func() bool {
		s.run.mu.Lock()
		defer s.run.mu.Unlock()
		for at := range s.run.listeners {
			if at.Listener == l {
				return true
			}
		}
		return false
	})
}

func listenOn(tb testing.TB, address string) net.Listener {
	tb.Helper()
	spec, err := ParseListen(address)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := spec.Listen(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

// dial connects to the server; every wait on the conn is bounded.
func (ts *testServer) dial() net.Conn {
	ts.Helper()
	network := "tcp"
	if strings.HasPrefix(ts.addr, "/") {
		network = "unix"
	}
	return dialTo(ts, network, ts.addr)
}

func dialTo(tb testing.TB, network, address string) net.Conn {
	tb.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(testPatience))
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// dialFrom is dialTo from another loopback address, which not every system has.
func dialFrom(tb testing.TB, from, address string) net.Conn {
	tb.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		tb.Skip("this needs a second loopback address: ", err)
	}
	conn.SetDeadline(time.Now().Add(testPatience))
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// startAt starts a target on an address that not every machine has.
func startAt(tb testing.TB, address string, handler tunneltest.Handler) *tunneltest.Server {
	tb.Helper()
	s, err := tunneltest.Listen("tcp", address, handler)
	if err != nil {
		tb.Skip("this machine has not the address: ", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// connectHead is a CONNECT request head with further field lines.
func connectHead(target string, fields ...string) string {
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	return head + "\r\n"
}

// open opens a tunnel, and takes exactly the 2xx off the conn.
func (ts *testServer) open(target string, fields ...string) net.Conn {
	ts.Helper()
	conn := ts.dial()
	send(ts, conn, connectHead(target, fields...))
	expect(ts, conn, established)
	return conn
}

// answer is one reply, and all there was of it.
type answer struct {
	status int
	header http.Header
	body   string
	raw    string
}

// ask sends text on a conn of its own and reads to the orderly end, which must
// hold one answer and nothing else.
func (ts *testServer) ask(text string) answer {
	ts.Helper()
	conn := ts.dial()
	send(ts, conn, text)
	return readAnswer(ts, conn)
}

func readAnswer(tb testing.TB, conn net.Conn) answer {
	tb.Helper()
	raw, err := io.ReadAll(conn)
	if err != nil {
		tb.Fatalf("read %.200q and then %v, want an answer and an orderly end", raw, err)
	}
	br := bufio.NewReader(bytes.NewReader(raw))
	reply, err := http.ReadResponse(br, nil)
	if err != nil {
		tb.Fatalf("%.200q is no answer: %v", raw, err)
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		tb.Fatalf("%.200q is cut short: %v", raw, err)
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		tb.Fatalf("behind the answer there is %.200q", rest)
	}
	return answer{reply.StatusCode, reply.Header, string(body), string(raw)}
}

// refused sends text, which must be refused as RULES 16 demands it of every
// refusal, and with this status, Proxy-Status error and record.
func (ts *testServer) refused(text string, status int, token string) answer {
	ts.Helper()
	a := ts.ask(text)
	ts.checkRefusal(a, status, token)
	return a
}

func (ts *testServer) checkRefusal(a answer, status int, token string) record {
	ts.Helper()
	if a.status != status {
		ts.Errorf("status %d, want %d", a.status, status)
	}
	members := parseProxyStatus(a.header.Values("Proxy-Status"))
	if len(members) != 1 || members[0].Name != ts.server.pseudonym() || members[0].Error != token {
		ts.Errorf("Proxy-Status %q, want %s; error=%s", a.header.Values("Proxy-Status"), ts.server.pseudonym(), token)
	}
	if _, err := http.ParseTime(a.header.Get("Date")); err != nil {
		ts.Errorf("Date: %v", err)
	}
	if !strings.Contains(a.raw, "\r\nConnection: close\r\n") { // net/http takes the field away
		ts.Errorf("there is no Connection: close in %q", a.raw)
	}
	if got := a.header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		ts.Errorf("Content-Type: %q", got)
	}
	if len(a.body) > 300 || !strings.HasSuffix(a.body, "\n") || strings.Count(a.body, "\n") != 1 {
		ts.Errorf("body %q, want one short line", a.body)
	}
	rec := ts.record(eventRequest)
	rec.wantNumber(ts, "status", status)
	rec.want(ts, "error", token)
	rec.want(ts, "level", "WARN")
	return rec
}

// record waits for the next record of an event; those of other events are
// passed over.
func (ts *testServer) record(event string) record {
	ts.Helper()
	return ts.log.next(ts, event)
}

// fakeResolver is a Resolver; the host comes to it without the root dot.
type fakeResolver func(ctx context.Context, host string) ([]netip.Addr, error)

func (f fakeResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, strings.TrimSuffix(host, "."))
}

// resolveTo resolves every name to the same addresses.
func resolveTo(addrs ...string) fakeResolver {
	return func(context.Context, string) ([]netip.Addr, error) {
		list := make([]netip.Addr, len(addrs))
		for i, a := range addrs {
			list[i] = netip.MustParseAddr(a)
		}
		return list, nil
	}
}

// neverResolve fails the test if anything is resolved.
func neverResolve(tb testing.TB) fakeResolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		tb.Errorf("%q was resolved", host)
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
}

// resolveLate resolves to 127.0.0.1 once released; asked is closed when the
// first question has come.
func resolveLate() (r fakeResolver, asked, release chan struct{}) {
	asked, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		once.Do(func() { close(asked) })
		select {
		case <-release:
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case <-ctx.Done():
			return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded)}
		}
	}, asked, release
}

func await(tb testing.TB, what string, done <-chan struct{}) {
	tb.Helper()
	select {
	case <-done:
	case <-time.After(testPatience):
		tb.Fatal("still waiting for " + what)
	}
}

// basic is a Proxy-Authorization field line.
func basic(user, password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// oneUser is a Verifier that knows one pair.
type oneUser struct{ user, password string }

func (u oneUser) Verify(user, password string) bool {
	return user == u.user && password == u.password
}

// mustRoute is a route of proxies at these addresses.
func mustRoute(tb testing.TB, proxies ...string) Route {
	tb.Helper()
	r, err := ParseRoute(strings.Join(proxies, ","))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// collect is a target that hands over all that came, and from whom.
func collect(tb testing.TB) (target *tunneltest.Server, got <-chan string) {
	tb.Helper()
	all := make(chan string, 16)
	return tunneltest.Start(tb, func(conn net.Conn) {
		b, _ := io.ReadAll(conn)
		all <- string(b)
	}), all
}

func receive[T any](tb testing.TB, what string, from <-chan T) T {
	tb.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(testPatience):
		tb.Fatal("still waiting for " + what)
		panic("not reached")
	}
}
