package tunnel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel/tunneltest"
)

var noSuchName = net.DNSError{Err: "no such host", IsNotFound: true}

// failToResolve makes every name fail to resolve.
func failToResolve(err net.DNSError) fakeResolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		err.Name = host
		return nil, &err
	}
}

// RULES 16: every status with its Proxy-Status error.
func TestRefusalStatusAndToken(t *testing.T) {
	refuses := tunneltest.Unused(t)
	asks := connectHead("secret-name.test:443", "X-Secret: secret-field", basic("secret-user", "secret-password"))
	for _, tt := range []struct {
		name    string
		server  *Server
		request string
		status  int
		token   string
		params  string // further parameters of Proxy-Status
	}{
		{"malformed", &Server{}, "CONNECT secret-name.test HTTP/1.1\r\nHost: secret-field\r\n\r\n", 400, "http_request_error", ""},
		{"TLS to a plain port", &Server{}, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret-name.test", 400, "http_request_error", ""},
		{"SOCKS", &Server{}, "\x05\x01\x00secret-name", 400, "http_request_error", ""},
		{"origin-form", &Server{}, "GET /secret-name HTTP/1.1\r\nHost: secret-field\r\n\r\n", 400, "http_request_error", ""},
		{"target denied", &Server{Policy: Policy{Deny: []Pattern{mustPattern(t, "*.test")}}}, asks, 403, "http_request_denied", ""},
		{"port denied", &Server{Policy: Policy{Allow: []Pattern{mustPattern(t, "*:22")}}}, asks, 403, "http_request_denied", ""},
		{"address denied", &Server{Resolver: resolveTo("169.254.169.254")}, asks, 403, "destination_ip_prohibited", ""},
		{"literal denied", &Server{}, connectHead("169.254.169.254:80"), 403, "destination_ip_prohibited", ""},
		{"credentials missing", &Server{Verifier: oneUser{"alice", "x"}}, connectHead("secret-name.test:443"), 407, "http_request_denied", ""},
		{"credentials wrong", &Server{Verifier: oneUser{"alice", "x"}}, asks, 407, "http_request_denied", ""},
		{"head too large", &Server{MaxHead: 200}, connectHead("secret-name.test:443", "X-Secret: "+strings.Repeat("secret-field", 100)), 431, "http_request_error", ""},
		{"too many fields", &Server{}, connectHead("secret-name.test:443", strings.Repeat("a:\r\n", 2000)+"b:"), 431, "http_request_error", ""},
		{"unknown coding", &Server{}, "POST http://secret-name.test/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "http_request_error", ""},
		{"https in absolute-form", &Server{}, "GET https://secret-name.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 501, "http_request_error", ""},
		{"HTTP/2 preface", &Server{}, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_request_error", ""},
		{"name unknown", &Server{Resolver: failToResolve(net.DNSError{IsNotFound: true})}, asks, 502, "dns_error", `rcode="NXDOMAIN"`},
		{"name server failed", &Server{Resolver: failToResolve(net.DNSError{IsTemporary: true})}, asks, 502, "dns_error", `rcode="SERVFAIL"`},
		{"name without address", &Server{Resolver: resolveTo()}, asks, 502, "dns_error", `rcode="NXDOMAIN"`},
		{"name server slow", &Server{Resolver: failToResolve(net.DNSError{IsTimeout: true})}, asks, 504, "dns_timeout", ""},
		{"refused", &Server{}, connectHead(refuses), 502, "connection_refused", ""},
		{"loop", &Server{Name: "me"}, connectHead("secret-name.test:443", "Via: 1.0 other, 1.1 ME (comment)"), 502, "proxy_loop_detected", ""},
		{"loop in a second field", &Server{Name: "me"}, connectHead("secret-name.test:443", "Via: 1.0 other", "Via: HTTP/1.1 me"), 502, "proxy_loop_detected", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, tt.server)
			a := ts.refused(tt.request, tt.status, tt.token)
			if !strings.Contains(a.header.Get("Proxy-Status"), tt.params) {
				t.Errorf("Proxy-Status %q, want %s in it", a.header.Get("Proxy-Status"), tt.params)
			}
			if challenged := a.header.Get("Proxy-Authenticate") != ""; challenged != (tt.status == 407) {
				t.Errorf("Proxy-Authenticate %q in a %d", a.header.Get("Proxy-Authenticate"), tt.status)
			}
			// Bodies and fields never echo what came.
			if strings.Contains(strings.ToLower(a.raw), "secret") {
				t.Errorf("the answer echoes the request: %q", a.raw)
			}
			if strings.Contains(ts.log.String(), "secret-password") || strings.Contains(ts.log.String(), "secret-field") {
				t.Errorf("the log holds what it must not: %s", ts.log)
			}
		})
	}
}

// RULES 16: resolving takes longer than ConnectTimeout allows.
func TestRefusalWhenResolvingTimesOut(t *testing.T) {
	resolver, _, _ := resolveLate()
	ts := startServer(t, &Server{Resolver: resolver, ConnectTimeout: 20 * time.Millisecond})
	ts.refused(connectHead("example.test:443"), 504, "dns_timeout")
}

// RULES 16: the limits.
func TestRefusalAtMaxTunnels(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server *Server
	}{
		{"in all", &Server{MaxTunnels: 2}},
		{"per client", &Server{MaxTunnelsPerClient: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, tt.server)
			echo := tunneltest.Start(t, tunneltest.Echo)
			first, second := ts.open(echo.Addr()), ts.open(echo.Addr())
			a := ts.ask(connectHead(echo.Addr()))
			ts.checkRefusal(a, 503, "connection_limit_reached").want(t, "rule", "max-tunnels")
			halfClose(t, first)
			expectLast(t, first, "")
			ts.record(eventClose)
			third := ts.open(echo.Addr()) // the slot was given back before the record was written
			send(t, third, "hello")
			expect(t, third, "hello")
			ts.refused(connectHead(echo.Addr()), 503, "connection_limit_reached")
			second.Close()
			ts.record(eventClose)
			ts.open(echo.Addr())
		})
	}
}

// A limit per client is one for each client.
func TestMaxTunnelsPerClientCountsEachAddress(t *testing.T) {
	ts := startServer(t, &Server{MaxTunnelsPerClient: 1})
	echo := tunneltest.Start(t, tunneltest.Echo)
	ts.open(echo.Addr())
	ts.refused(connectHead(echo.Addr()), 503, "connection_limit_reached")
	other := dialFrom(t, "127.0.0.5", ts.addr)
	send(t, other, connectHead(echo.Addr()))
	expect(t, other, established)
}

// A tunnel that cannot be opened takes no slot for good.
func TestRefusedTunnelsGiveTheirSlotBack(t *testing.T) {
	ts := startServer(t, &Server{MaxTunnels: 1, MaxTunnelsPerClient: 1})
	refuses := tunneltest.Unused(t)
	for range 5 {
		ts.refused(connectHead(refuses), 502, "connection_refused")
	}
	if n := ts.server.Open(); n != 0 {
		t.Errorf("%d slots are taken", n)
	}
}

// RULES 14; RFC 9931: what stands behind a refused CONNECT may have been meant
// for the target, and is never a request.
func TestRefusedConnectIsTheLastRequest(t *testing.T) {
	for _, behind := range []string{
		"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\n\r\n",
		connectHead("127.0.0.1:1"),
		"OPTIONS http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
		"\x16\x03\x01", "\r\n\r\n", strings.Repeat("x", 5000),
	} {
		for _, tt := range []struct {
			name, request string
			status        int
			token         string
		}{
			{"denied", connectHead("169.254.169.254:443"), 403, "destination_ip_prohibited"},
			{"malformed target", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http_request_error"},
			{"content", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", 400, "http_request_error"},
			{"name unknown", connectHead("example.test:443"), 502, "dns_error"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				ts := startServer(t, &Server{Resolver: failToResolve(net.DNSError{IsNotFound: true})})
				ts.refused(tt.request+behind, tt.status, tt.token) // exactly one answer
				if n := strings.Count(ts.log.String(), "\n"); n != 1 {
					t.Errorf("%d records, want 1:\n%s", n, ts.log)
				}
			})
		}
	}
}

// RFC 9931: 407 closes too, or the next bytes are the attacker's.
func TestRefused407ClosesTheConnection(t *testing.T) {
	ts := startServer(t, &Server{Verifier: oneUser{"alice", "secret"}, Resolver: neverResolve(t)})
	ts.refused(connectHead("example.test:443")+connectHead("example.test:443", basic("alice", "secret")), 407, "http_request_denied")
}

// RULES 15: the answer must get through although the client went on sending.
func TestRefusalIsNotLostToAReset(t *testing.T) {
	ts := startServer(t, &Server{AllowClient: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	bulk := strings.Repeat("x", 100<<10)
	for range 20 {
		ts.refused(connectHead("169.254.169.254:443")+bulk, 403, "destination_ip_prohibited")
		ts.refused("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"+bulk, 400, "http_request_error")
		ts.refused("\x00"+bulk, 400, "http_request_error")
	}
	conn := dialFrom(t, "127.0.0.5", ts.addr)
	send(t, conn, bulk)
	ts.checkRefusal(readAnswer(t, conn), 403, "http_request_denied")
}

// RULES 17.
func TestProxyAuthorizationIsNeverLogged(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	right := basic("alice", "s3cret")
	wrong := basic("alice", "wr0ng")
	for _, tt := range []struct{ name, request string }{
		{"right", connectHead(echo.Addr(), right)},
		{"wrong", connectHead(echo.Addr(), wrong)},
		{"not base64", connectHead(echo.Addr(), "Proxy-Authorization: Basic s3cret")},
		{"another scheme", connectHead(echo.Addr(), "Proxy-Authorization: Bearer s3cret")},
		{"malformed target", connectHead("alice:s3cret@example.test:443", right)},
		{"malformed head", connectHead(echo.Addr(), right, "Proxy-Authorization : s3cret")},
		{"denied", connectHead("169.254.169.254:1", right)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, &Server{Verifier: oneUser{"alice", "s3cret"}})
			conn := ts.dial()
			send(t, conn, tt.request)
			halfClose(t, conn)
			receive(t, "a record", ts.log.records)
			ts.server.Close()
			encoded := func(line string) string { return line[strings.LastIndexByte(line, ' ')+1:] }
			for _, secret := range []string{"s3cret", "wr0ng", encoded(right), encoded(wrong), "Proxy-Authorization"} {
				if strings.Contains(ts.log.String(), secret) {
					t.Errorf("the log holds %q:\n%s", secret, ts.log)
				}
			}
		})
	}
}

// RFC 9110, section 9.3.2: an answer to HEAD has no content.
func TestRefusedHeadHasNoBody(t *testing.T) {
	ts := startServer(t, &Server{})
	conn := ts.dial()
	send(t, conn, "HEAD http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\n\r\n")
	halfClose(t, conn)
	raw := make([]byte, 4096)
	n := 0
	for {
		m, err := conn.Read(raw[n:])
		if n += m; err != nil {
			break
		}
	}
	if got := string(raw[:n]); !strings.HasPrefix(got, "HTTP/1.1 403 ") || !strings.HasSuffix(got, "\r\n\r\n") || strings.Count(got, "\r\n\r\n") != 1 {
		t.Errorf("the answer to HEAD is %q", got)
	}
}

// Who may not use the proxy at all learns it before sending a byte.
func TestClientsAreJudgedBeforeAnyHead(t *testing.T) {
	for _, tt := range []struct {
		name    string
		allow   []netip.Prefix
		allowed bool
	}{
		{"none given", nil, true},
		{"its network", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}, true},
		{"its address", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, true},
		{"another network", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, false},
		{"none at all", []netip.Prefix{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, &Server{AllowClient: tt.allow, HeaderTimeout: time.Hour})
			conn := ts.dial()
			if tt.allowed {
				ts.refused(connectHead("169.254.169.254:1"), 403, "destination_ip_prohibited")
				return
			}
			rec := ts.checkRefusal(readAnswer(t, conn), 403, "http_request_denied") // not a byte was sent
			rec.want(t, "rule", "allow-client")
			rec.want(t, "client", conn.LocalAddr().String())
		})
	}
}

// A dual-stack listener has IPv4 clients at IPv4-mapped addresses.
func TestAllowClientKnowsMappedAddresses(t *testing.T) {
	at := &listening{server: &Server{AllowClient: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, Listener: &fakeListener{addr: &net.TCPAddr{}}}
	for _, tt := range []struct {
		remote net.Addr
		want   bool
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 5}, true},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7").To16(), Port: 5}, true},
		{&net.TCPAddr{IP: net.ParseIP("192.0.3.7"), Port: 5}, false},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 5, Zone: "lo"}, false},
		{textAddr("192.0.2.7:5"), true},
		{textAddr("192.0.3.7:5"), false},
		{textAddr("pipe"), false}, // it cannot be told: no network has it
	} {
		c := newClientConn(at, &addressedConn{remote: tt.remote})
		if got := c.local || at.server.allowsClient(c.addr); got != tt.want {
			t.Errorf("client %v: allowed %v, want %v", tt.remote, got, tt.want)
		}
	}
}

// textAddr is an address that is no *net.TCPAddr.
type textAddr string

func (textAddr) Network() string  { return "test" }
func (a textAddr) String() string { return string(a) }

type addressedConn struct {
	net.Conn
	remote net.Addr
}

func (c *addressedConn) RemoteAddr() net.Addr { return c.remote }

// fakeListener has an address, and accepts what it is given.
type fakeListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
}

func newFakeListener(addr net.Addr) *fakeListener {
	return &fakeListener{addr, make(chan net.Conn), make(chan struct{})}
}

func (l *fakeListener) Addr() net.Addr { return l.addr }

func (l *fakeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// connect is a client's conn to the listener, from an address.
func (l *fakeListener) connect(t *testing.T, from string) net.Conn {
	near, far := memoryPair(t)
	l.conns <- clientAt{near.(memoryConn), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	return far
}

// clientAt is an in-memory conn whose other end has an address.
type clientAt struct {
	memoryConn
	remote net.Addr
}

func (c clientAt) RemoteAddr() net.Addr { return c.remote }

// serverInBubble runs test with a Server in a bubble, where time passes only
// when nothing else can happen.
func serverInBubble(t *testing.T, s *Server, test func(t *testing.T, l *fakeListener, log *accessLog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newFakeListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3128})
		log := newAccessLog()
		s.AccessLog = log.logger()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		test(t, l, log)
		s.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
}

// DESIGN 3: --header-timeout; a browser opens conns in advance and would take
// an answer for one to its next request.
func TestHeaderTimeoutOfASilentConnection(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *fakeListener, log *accessLog) {
		start := time.Now()
		conn := l.connect(t, "192.0.2.1:5")
		expectLast(t, conn, "")
		if got := time.Since(start); got != 7*time.Second {
			t.Errorf("closed after %v, want 7s", got)
		}
		if log.String() != "" {
			t.Errorf("a conn without a request was logged:\n%s", log)
		}
	})
}

func TestHeaderTimeoutOfHalfAHead(t *testing.T) {
	for _, half := range []string{"C", "CONNECT example.test:443", "CONNECT example.test:443 HTTP/1.1\r\nHost: a\r\n", "\r\n"} {
		serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *fakeListener, log *accessLog) {
			conn := l.connect(t, "192.0.2.1:5")
			send(t, conn, half)
			start := time.Now()
			a := readAnswer(t, conn)
			if a.status != 408 || !strings.Contains(a.header.Get("Proxy-Status"), "error=http_request_error") {
				t.Errorf("half a head %q: %q", half, a.raw)
			}
			if got := time.Since(start); got != 7*time.Second {
				t.Errorf("answered after %v, want 7s", got)
			}
			rec := log.next(t, eventRequest)
			rec.wantNumber(t, "status", 408)
		})
	}
}

// A head that never ends must not live on by coming slowly.
func TestHeaderTimeoutOfATricklingHead(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *fakeListener, _ *accessLog) {
		conn := l.connect(t, "192.0.2.1:5")
		send(t, conn, "CONNECT example.test:443 HTTP/1.1\r\nX: ")
		var trickle sync.WaitGroup
		trickle.Go(func() {
			for {
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		start := time.Now()
		if a := readAnswer(t, conn); a.status != 408 || time.Since(start) != 7*time.Second {
			t.Errorf("status %d after %v, want 408 after 7s", a.status, time.Since(start))
		}
		conn.Close()
		trickle.Wait()
	})
}

// Negative means off, for each of the two by itself.
func TestHeaderTimeoutOff(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: -1, KeepAliveTimeout: time.Second, Verifier: oneUser{"a", "b"}}, func(t *testing.T, l *fakeListener, _ *accessLog) {
		conn := l.connect(t, "192.0.2.1:5")
		time.Sleep(24 * time.Hour)
		head := connectHead("example.test:443")
		send(t, conn, head[:20])
		time.Sleep(24 * time.Hour)
		send(t, conn, head[20:])
		if a := readAnswer(t, conn); a.status != 407 {
			t.Errorf("status %d, want 407", a.status)
		}
	})
}

// A refused client that keeps its end open keeps nothing here.
func TestRefusedClientThatStays(t *testing.T) {
	serverInBubble(t, &Server{}, func(t *testing.T, l *fakeListener, _ *accessLog) {
		conn := l.connect(t, "192.0.2.1:5")
		send(t, conn, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n")
		readAnswer(t, conn)
		start := time.Now()
		for {
			if _, err := conn.Write([]byte("more")); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := time.Since(start); got > 2*drainTime {
			t.Errorf("the refused conn was read from for %v", got)
		}
	})
}
