package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// within gives a Server limits in place of those of the process.
func within(s *Server, limits quota.Limits) *Server {
	s.init()
	s.run.table = quota.New(limits)
	s.run.names.Hold = holdLookups(s.run.table.Own())
	s.run.maxDescriptors = 0
	return s
}

// awaitHeld waits until the Server holds n descriptors of a kind.
func (ts *testServer) awaitHeld(kind quota.Kind, n int) {
	ts.Helper()
	held := -1
	for until := time.Now().Add(testkit.Patience); held != n; time.Sleep(time.Millisecond) {
		if held = ts.server.run.table.Held(kind); time.Now().After(until) {
			ts.Fatalf("%d descriptors of kind %d are held, want %d", held, kind, n)
		}
	}
}

// awaitRequests waits until a client address has n tunnels and requests in flight.
func (ts *testServer) awaitRequests(from string, n int) {
	ts.Helper()
	testkit.Eventually(ts, fmt.Sprintf("%q has %d requests in flight", from, n), func() bool {
		addr, _ := netip.ParseAddr(from)
		_, requests := ts.server.run.table.HeldBy(addr)
		return requests == n
	})
}

// muteOrigin accepts connections and answers nothing. It returns its HOST:PORT.
func muteOrigin(t *testing.T) string {
	return tunneltest.Start(t, func(conn net.Conn) { io.Copy(io.Discard, conn) }).Addr()
}

// ask2 sends a request on a stream of its own, and returns it.
func ask2(ts *testServer, c *h2.Conn, request string, target string) *h2.Stream {
	ts.Helper()
	if request == "CONNECT" {
		return ts.open2(c, false, ":method", "CONNECT", ":authority", target)
	}
	return ts.open2(c, true, ":method", "GET", ":scheme", "http", ":authority", target, ":path", "/")
}

// MaxTunnelsPerClient counts tunnels, upgrades and plain requests in flight, over every
// protocol version, and what one client has does not concern another.
func TestMaxTunnelsPerClientCountsAllRequests(t *testing.T) {
	const most = 3
	requests := map[string]string{
		"CONNECT": "CONNECT TARGET HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET":     "GET http://TARGET/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST":    "POST http://TARGET/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhal",
		"upgrade": "GET http://TARGET/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	}
	for kind, request := range requests {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprint(kind, " over HTTP/1, TLS ", secure), func(t *testing.T) {
				t.Parallel()
				start, dial := startServer, func(ts *testServer, from string) net.Conn { return testkit.DialFrom(t, from, ts.Addr) }
				if secure {
					start = startSecure
					dial = func(ts *testServer, from string) net.Conn {
						return tls.Client(testkit.DialFrom(t, from, ts.Addr), &tls.Config{InsecureSkipVerify: true})
					}
				}
				ts := start(t, &Server{MaxTunnelsPerClient: most})
				text := strings.ReplaceAll(request, "TARGET", muteOrigin(t))
				var conns []net.Conn
				for range most {
					conn := dial(ts, "127.0.0.2")
					testkit.Send(t, conn, text)
					conns = append(conns, conn)
				}
				ts.awaitRequests("127.0.0.2", most)
				over := dial(ts, "127.0.0.2")
				testkit.Send(t, over, text)
				ts.CheckRefusal(proxytest.ReadAnswer(t, over), 503, "connection_limit_reached").Want(t, "rule", "max-tunnels-per-client")
				testkit.Send(t, dial(ts, "127.0.0.3"), text)
				ts.awaitRequests("127.0.0.3", 1)
				for _, conn := range conns {
					conn.Close()
				}
				if kind == "CONNECT" { // a closed client ends the others only when it is watched
					ts.awaitRequests("127.0.0.2", 0)
				}
			})
		}
		if kind == "POST" || kind == "upgrade" {
			continue
		}
		t.Run(kind+" over HTTP/2", func(t *testing.T) {
			t.Parallel()
			ts := startServer(t, &Server{MaxTunnelsPerClient: most})
			target := muteOrigin(t)
			c := ts.client2()
			var streams []*h2.Stream
			for range most {
				streams = append(streams, ask2(ts, c, kind, target))
			}
			ts.awaitRequests("127.0.0.1", most)
			if got := ts.head2(ask2(ts, c, kind, target)).Get(":status"); got != "503" {
				t.Errorf("over the limit: status %s", got)
			}
			other := startHTTP1(ts, "127.0.0.3", target)
			ts.awaitRequests("127.0.0.3", 1)
			other.Close()
			streams[0].Reset(h2.CodeCancel)
			ts.awaitRequests("127.0.0.1", most-1)
			if kind == "CONNECT" {
				if got := ts.head2(ask2(ts, c, kind, target)).Get(":status"); got != "200" {
					t.Errorf("after one was reset: status %s", got)
				}
			}
			for _, s := range streams {
				s.Close()
			}
		})
	}
}

// startHTTP1 opens a tunnel from an address.
func startHTTP1(ts *testServer, from, target string) net.Conn {
	ts.Helper()
	conn := testkit.DialFrom(ts, from, ts.Addr)
	testkit.Send(ts, conn, proxytest.ConnectHead(target))
	testkit.Expect(ts, conn, established)
	return conn
}

// The requests of one connection, one after the other, are never above the limit.
func TestRequestsOneAfterTheOtherAreOne(t *testing.T) {
	p := plainTestWith(t, &Server{MaxTunnelsPerClient: 1})
	client, origin, _ := p.exchange(simpleGet)
	for range 50 {
		origin.send(okHello)
		client.expect(helloHere)
		p.logged(200, 0, 5)
		client.send(p.fill(simpleGet))
		origin.head()
	}
	p.refused(simpleGet, 503, "connection_limit_reached")
}

// MaxConnectionsPerClient counts what a client's requests hold elsewhere, too.
func TestMaxConnectionsPerClient(t *testing.T) {
	for name, from := range map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(name, func(t *testing.T) {
			network := "tcp"
			if name == "unix" {
				network = "unix"
			}
			l, err := net.Listen(network, from)
			if err != nil {
				t.Skip(err)
			}
			loopback := []policy.AddrRule{proxytest.MustAddrRule(t, "loopback")}
			ts := startServerOn(t, &Server{MaxConnectionsPerClient: 4, Policy: policy.Policy{AllowAddr: loopback}}, l)
			target := muteOrigin(t)
			ts.Open(target)
			second := ts.Open(target)
			ts.CheckRefusal(proxytest.ReadAnswer(t, ts.Dial()), 503, "connection_limit_reached").Want(t, "rule", "max-connections-per-client")
			second.Close()
			ts.NextRecord(accesslog.EventClose)
			conn := ts.Dial()
			half := ts.Dial() // idle: it makes room for the target of conn
			ts.awaitHeld(quota.Client, 3)
			testkit.Send(t, conn, proxytest.ConnectHead(target))
			testkit.Expect(t, conn, established)
			ts.CheckRefusal(proxytest.ReadAnswer(t, half), 503, "connection_limit_reached").Want(t, "rule", "descriptors")
			ts.CheckRefusal(proxytest.ReadAnswer(t, ts.Dial()), 503, "connection_limit_reached")
		})
	}
}

// Where users log in, a client address may hold an eighth of all by default.
func TestMaxConnectionsPerClientByDefault(t *testing.T) {
	for name, tt := range map[string]struct {
		server *Server
		limit  func(all int) int
	}{
		"without logins":     {&Server{}, func(int) int { return 0 }},
		"with logins":        {&Server{Verifier: proxytest.OneUser{}}, func(all int) int { return max(4, all/8) }},
		"with a number":      {&Server{Verifier: proxytest.OneUser{}, MaxConnectionsPerClient: 7}, func(int) int { return 7 }},
		"with logins, off":   {&Server{Verifier: proxytest.OneUser{}, MaxConnectionsPerClient: -1}, func(int) int { return 0 }},
		"a number, no login": {&Server{MaxConnectionsPerClient: 9}, func(int) int { return 9 }},
	} {
		tt.server.init()
		limits := tt.server.run.table.Limits()
		want := tt.limit(limits.Descriptors)
		if limits.Descriptors == 0 && name == "with logins" {
			want = 0
		}
		if limits.PerClient != want {
			t.Errorf("%s: %d of %d", name, limits.PerClient, limits.Descriptors)
		}
	}
}

// While strangers hold as many silent, half-spoken and wrong connections as they get, and
// open others as fast as they can, users from elsewhere log in.
func TestStrangersDoNotLockUsersOut(t *testing.T) {
	const most = 60
	for name, tt := range map[string]struct {
		secure bool
		says   string
	}{
		"silent":               {false, ""},
		"within a head":        {false, "CONNECT a.test:443 HTTP/1.1\r\nHost: a"},
		"wrong passwords":      {false, proxytest.ConnectHead("a.test:443", testkit.Basic("ada", "wrong"))},
		"HTTP/2":               {false, h2.Preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
		"silent over TLS":      {true, ""},
		"within a ClientHello": {true, "\x16\x03\x01\x02\x00\x01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := within(&Server{Verifier: proxytest.OneUser{User: "ada", Password: "x"}, HeaderTimeout: testkit.Patience},
				quota.Limits{Descriptors: most, PerClient: most / 4, Refusals: 8})
			start := startServer
			if tt.secure {
				start = startSecure
			}
			ts := start(t, s)
			echo := tunneltest.Start(t, tunneltest.Echo).Addr()
			var strangers []net.Conn
			crowd := func(n int) {
				for i := range n {
					conn := testkit.DialFrom(t, fmt.Sprintf("127.0.1.%d", 1+i%9), ts.Addr)
					io.WriteString(conn, tt.says)
					strangers = append(strangers, conn)
				}
			}
			crowd(3 * most)
			for range 10 {
				conn := testkit.DialFrom(t, "127.0.0.7", ts.Addr)
				if tt.secure {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				testkit.Send(t, conn, proxytest.ConnectHead(echo, testkit.Basic("ada", "x")))
				testkit.Expect(t, conn, established)
				conn.Close()
				ts.awaitRequests("127.0.0.7", 0)
				crowd(most / 4)
			}
			if held := s.run.table.Held(quota.Client); held > most {
				t.Errorf("%d connections of clients are held", held)
			}
		})
	}
}

// A client that is dropped in the middle of a head is told so, as is one that has sent
// nothing yet. Between two requests it is not: it sends the second one again.
func TestDroppedClientIsToldWhy(t *testing.T) {
	ts := startServer(t, within(&Server{HeaderTimeout: testkit.Patience}, quota.Limits{Descriptors: 1}))
	conn := ts.Dial()
	testkit.Send(t, conn, "GET http://a.test/ HT")
	testkit.Eventually(t, "the head has begun", func() bool {
		ts.server.run.mu.Lock()
		defer ts.server.run.mu.Unlock()
		for c := range ts.server.run.conns {
			c.mu.Lock()
			defer c.mu.Unlock()
			return !c.waiting
		}
		return false
	})
	silent := ts.Dial()
	ts.CheckRefusal(proxytest.ReadAnswer(t, conn), 503, "connection_limit_reached").Want(t, "rule", "descriptors")
	ts.awaitHeld(quota.Client, 1)
	known := ts.Dial()
	ts.CheckRefusal(proxytest.ReadAnswer(t, silent), 503, "connection_limit_reached").Want(t, "rule", "descriptors")
	const reply = "HTTP/1.1 200 OK\r\n"
	testkit.Send(t, known, "OPTIONS http://a.test HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
	testkit.Expect(t, known, reply)
	ts.NextRecord(accesslog.EventRequest)
	ts.awaitRequests("127.0.0.1", 0)
	ts.Dial()
	rest, err := io.ReadAll(known)
	if err != nil || strings.Contains(string(rest), "503") {
		t.Errorf("between two requests it got %q and %v", rest, err)
	}
}

// So is a client whose password waits to be verified, and it gives its place up.
func TestClientDroppedWhileItLogsInIsToldWhy(t *testing.T) {
	atOnce := hashesAtOnce() // so many are verified
	v := blockingVerifier{make(chan struct{}, atOnce+2), make(chan struct{})}
	ts := startServer(t, within(&Server{Verifier: v}, quota.Limits{Descriptors: atOnce + 2}))
	request := proxytest.ConnectHead("a.test:443", testkit.Basic("a", "b"))
	for i := range atOnce {
		testkit.Send(t, testkit.DialFrom(t, fmt.Sprintf("127.0.0.%d", 10+i), ts.Addr), request)
		testkit.Receive(t, "the verifier", v.asked)
	}
	var waiting []net.Conn
	for range 2 {
		conn := ts.Dial()
		testkit.Send(t, conn, request)
		waiting = append(waiting, conn)
	}
	ts.awaitHeld(quota.Client, atOnce+2)
	testkit.DialFrom(t, "127.0.0.3", ts.Addr)
	rec := ts.CheckRefusal(proxytest.ReadAnswer(t, waiting[0]), 503, "connection_limit_reached")
	rec.Want(t, "rule", "descriptors")
	close(v.release)
}

// A connection with a request in flight is never dropped, and when all have one, the next
// client is told so.
func TestBusyServerAnswers503(t *testing.T) {
	ts := startServer(t, within(&Server{}, quota.Limits{Descriptors: 4, Refusals: 2}))
	target := muteOrigin(t)
	a, b := ts.Open(target), ts.Open(target)
	for range 5 {
		ts.CheckRefusal(proxytest.ReadAnswer(t, ts.Dial()), 503, "connection_limit_reached").Want(t, "rule", "descriptors")
	}
	// More at once than are waited for: each is answered all the same.
	var conns []net.Conn
	for range 10 {
		conns = append(conns, ts.Dial())
	}
	for _, conn := range conns {
		proxytest.ReadAnswer(t, conn)
	}
	a.Close()
	b.Close()
	ts.awaitRequests("127.0.0.1", 0)
	ts.Open(target)
}

// Connections kept to origins make room first.
func TestKeptConnectionsMakeRoomFirst(t *testing.T) {
	p := plainTestWith(t, within(&Server{Name: "p"}, quota.Limits{Descriptors: 4}))
	client, origin, _ := p.exchange(simpleGet)
	origin.send(okHello)
	client.expect(helloHere)
	p.ts.awaitHeld(quota.Kept, 1)
	idle := p.ts.Dial()
	p.ts.awaitHeld(quota.Client, 2)
	silent := p.ts.Dial()
	p.ts.awaitHeld(quota.Client, 3) // all are in use
	more := p.ts.Dial()
	p.ts.awaitHeld(quota.Client, 4)
	origin.ended()
	p.ts.awaitHeld(quota.Kept, 0)
	for _, conn := range []net.Conn{idle, silent, more} {
		conn.Close()
	}
	p.ts.awaitHeld(quota.Client, 1)
	client.send(p.fill(simpleGet)) // on a new connection, since the kept one was closed
	origin = p.origin.accept()
	origin.head()
	origin.send(okHello)
	client.expect(helloHere)
}

// What clients keep for their own logins by NTLM is bounded over all their connections.
func TestPrivateConnectionsOfAClientAreBounded(t *testing.T) {
	ts := startServer(t, &Server{})
	const conns, origins = 8, 2 * keptPerClient / 8
	var addrs []string
	for range origins {
		addrs = append(addrs, tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")...).Addr())
	}
	for range conns {
		conn := ts.Dial()
		for _, addr := range addrs {
			testkit.Send(t, conn, "GET http://"+addr+"/ HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n")
			ts.NextRecord(accesslog.EventRequest)
			if kept := ts.server.run.table.Held(quota.Kept); kept > keptPerClient {
				t.Fatalf("%d connections are kept for one client", kept)
			}
		}
	}
	if held, _ := ts.server.run.table.HeldBy(netip.MustParseAddr("127.0.0.1")); held > conns+keptPerClient {
		t.Errorf("the client holds %d", held)
	}
}

// A parent's connection that tunnels share is one descriptor, and their streams are none.
func TestSharedConnectionToAParentIsCountedOnce(t *testing.T) {
	parent := startServer(t, &Server{})
	child := startServer(t, &Server{Via: []ViaRule{{Route: routeTo(t, tunnel.SchemeH2C, parent)}}})
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	var conns []net.Conn
	for range 5 {
		conns = append(conns, child.Open(echo))
	}
	child.awaitHeld(quota.Target, 1)
	child.awaitHeld(quota.Dial, 0)
	child.awaitHeld(quota.Client, 5)
	parent.awaitHeld(quota.Client, 1)
	parent.awaitHeld(quota.Target, 5)
	for _, conn := range conns {
		conn.Close()
	}
	parent.awaitHeld(quota.Target, 0)
	child.awaitHeld(quota.Client, 0)
	child.awaitHeld(quota.Target, 1) // it is kept
}

// Over HTTP/1 each tunnel and each request through a parent has a connection of its own.
func TestConnectionsToParentsAreCounted(t *testing.T) {
	parent := startServer(t, &Server{})
	child := startServer(t, &Server{MaxConnectionsPerClient: 5, Via: []ViaRule{{Route: routeTo(t, tunnel.SchemeHTTP, parent)}}})
	target := muteOrigin(t)
	for range 2 {
		child.Open(target)
	}
	child.awaitHeld(quota.Target, 2)
	for _, request := range []string{proxytest.ConnectHead(target), "GET http://" + target + "/ HTTP/1.1\r\nHost: a\r\n\r\n"} {
		child.CheckRefusal(child.Ask(request), 503, "connection_limit_reached").Want(t, "rule", "max-connections-per-client")
	}
}

// A stream of HTTP/2 has no connection of its own, but its target has.
func TestStreamsAreCountedByTheirTargets(t *testing.T) {
	ts := startServer(t, &Server{MaxConnectionsPerClient: 4})
	c := clienttest.NewClient(t, routeTo(t, tunnel.SchemeH2C, ts))
	target := muteOrigin(t)
	for range 3 {
		clienttest.MustOpen(t, c, target)
	}
	if _, err := c.DialContext(t.Context(), "tcp", target); err == nil {
		t.Error("a fourth target beside the client's connection")
	}
	ts.awaitHeld(quota.Client, 1)
	ts.awaitHeld(quota.Target, 3)
}

// Attempts to connect to several addresses at once are counted, and given back when one
// of them has won.
func TestAttemptsAreCounted(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	s := &Server{Resolver: testkit.ResolveTo("127.0.0.1", "127.0.0.2"), Policy: policy.Policy{AllowAddr: []policy.AddrRule{proxytest.MustAddrRule(t, "loopback")}}}
	ts := startServer(t, s)
	conn := ts.Open("a.test:" + echo.Port())
	ts.awaitHeld(quota.Dial, 0)
	ts.awaitHeld(quota.Target, 1)
	conn.Close()
	ts.awaitHeld(quota.Target, 0)

	table := quota.New(quota.Limits{})
	var slot quota.Slot
	if err := table.Admit(&slot, netip.Addr{}, nil); err != nil {
		t.Fatal(err)
	}
	r := slot.Request()
	if err := r.Open(); err != nil {
		t.Fatal(err)
	}
	a := &attempts{account: r.Account()}
	for i := range 3 {
		if err := a.begin(); err != nil || table.Held(quota.Dial) != i+1 {
			t.Errorf("with %d attempts under way %d are held, and %v", i+1, table.Held(quota.Dial), err)
		}
	}
	if a.end(false) || table.Held(quota.Dial) != 2 {
		t.Errorf("after a failure %d are held", table.Held(quota.Dial))
	}
	if !a.end(true) || a.end(true) || table.Held(quota.Dial) != 1 {
		t.Errorf("after two have connected %d are held", table.Held(quota.Dial))
	}
	r.End()
	slot.Release()
}

// Who counts the descriptors of look-ups refuses in its own words.
func TestLookupsAreCounted(t *testing.T) {
	table := quota.New(quota.Limits{Descriptors: 2})
	hold := holdLookups(table.Own())
	first, err := hold()
	if err != nil {
		t.Fatal(err)
	}
	second, err := hold()
	if err != nil || table.Held(quota.Lookup) != 2 {
		t.Fatalf("%d are held, and %v", table.Held(quota.Lookup), err)
	}
	if _, err := hold(); tunnel.AsError(err, tunnel.PhaseResolve).Rule != "descriptors" {
		t.Errorf("the third: %v", err)
	}
	first()
	second()
	if n := table.Held(quota.Lookup); n != 0 {
		t.Errorf("%d are held", n)
	}
}

// When Accept fails for want of descriptors, although the table has some left, idle
// connections are dropped.
func TestAcceptWithoutDescriptorsDropsIdleConnections(t *testing.T) {
	accept := &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	l := &faultyListener{Listener: testkit.Listen(t, "127.0.0.1:0"), fail: make(chan error, 1)}
	ts := startServerOn(t, &Server{HeaderTimeout: testkit.Patience}, l)
	silent := ts.Dial()
	ts.awaitHeld(quota.Client, 1)
	l.fail <- accept
	ts.Dial() // Accept returns it, and fails the next time
	ts.CheckRefusal(proxytest.ReadAnswer(t, silent), 503, "connection_limit_reached").Want(t, "rule", "descriptors")
	ts.NextRecord(accesslog.EventRequest) // of the other
	ts.Refused("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http_request_error")
}

// faultyListener fails before the next Accept when told so.
type faultyListener struct {
	net.Listener
	fail chan error
}

func (l *faultyListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.fail:
		return nil, err
	default:
	}
	return l.Listener.Accept()
}

// Whatever the limit of descriptors is, there is room for a tunnel and for a refusal, and
// all together is not more than the limit.
func TestRoomForConnections(t *testing.T) {
	for limit := 12; limit < 1<<20; limit += 1 + limit/7 {
		const inUse = 9
		r := roomFor(limit, inUse)
		all := r.connections + r.refusals + 4*r.pipes
		switch {
		case r.refusals < 1 || r.connections < 2 || r.tunnels() < 1 || r.share() < 4:
			t.Errorf("of %d: %+v", limit, r)
		case limit > inUse+4 && all > limit-inUse:
			t.Errorf("of %d, %d are in use and %d divided: %+v", limit, inUse, all, r)
		case limit > 64 && r.connections < limit*3/5:
			t.Errorf("of %d only %d are for connections", limit, r.connections)
		}
	}
	if r := roomFor(0, 0); r.connections != 0 || r.tunnels() < 1<<16 || r.share() != 0 {
		t.Errorf("without a limit: %+v", r)
	}
}
