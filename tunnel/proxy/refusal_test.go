package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// Every status with its Proxy-Status error (RFC 9209, section 2.3).
func TestRefusalStatusAndToken(t *testing.T) {
	refuses := tunneltest.Unused(t)
	asks := proxytest.ConnectHead("secret-name.test:443", "X-Secret: secret-field", testkit.Basic("secret-user", "secret-password"))
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
		{"target denied", &Server{Policy: policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "*.test")}}}, asks, 403, "http_request_denied", ""},
		{"port denied", &Server{Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:22")}}}, asks, 403, "http_request_denied", ""},
		{"address denied", &Server{Resolver: testkit.ResolveTo("169.254.169.254")}, asks, 403, "destination_ip_prohibited", ""},
		{"literal denied", &Server{}, proxytest.ConnectHead("169.254.169.254:80"), 403, "destination_ip_prohibited", ""},
		{"credentials missing", &Server{Verifier: proxytest.OneUser{User: "alice", Password: "x"}}, proxytest.ConnectHead("secret-name.test:443"), 407, "http_request_denied", ""},
		{"credentials wrong", &Server{Verifier: proxytest.OneUser{User: "alice", Password: "x"}}, asks, 407, "http_request_denied", ""},
		{"head too large", &Server{MaxHead: 200}, proxytest.ConnectHead("secret-name.test:443", "X-Secret: "+strings.Repeat("secret-field", 100)), 431, "http_request_error", ""},
		{"too many fields", &Server{}, proxytest.ConnectHead("secret-name.test:443", strings.Repeat("a:\r\n", 2000)+"b:"), 431, "http_request_error", ""},
		{"unknown coding", &Server{}, "POST http://secret-name.test/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "http_request_error", ""},
		{"https in absolute-form", &Server{}, "GET https://secret-name.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 501, "http_request_error", ""},
		{"name unknown", &Server{Resolver: testkit.FailToResolve(net.DNSError{IsNotFound: true})}, asks, 502, "dns_error", `rcode="NXDOMAIN"`},
		{"name server failed", &Server{Resolver: testkit.FailToResolve(net.DNSError{IsTemporary: true})}, asks, 502, "dns_error", `rcode="SERVFAIL"`},
		{"name without address", &Server{Resolver: testkit.ResolveTo()}, asks, 502, "dns_error", `rcode="NXDOMAIN"`},
		{"name server slow", &Server{Resolver: testkit.FailToResolve(net.DNSError{IsTimeout: true})}, asks, 504, "dns_timeout", ""},
		{"refused", &Server{}, proxytest.ConnectHead(refuses), 502, "connection_refused", ""},
		{"loop", &Server{Name: "me"}, proxytest.ConnectHead("secret-name.test:443", "Via: 1.0 other, 1.1 ME (comment)"), 502, "proxy_loop_detected", ""},
		{"loop in a second field", &Server{Name: "me"}, proxytest.ConnectHead("secret-name.test:443", "Via: 1.0 other", "Via: HTTP/1.1 me"), 502, "proxy_loop_detected", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, tt.server)
			a := ts.Refused(tt.request, tt.status, tt.token)
			if !strings.Contains(a.Header.Get("Proxy-Status"), tt.params) {
				t.Errorf("Proxy-Status %q, want %s in it", a.Header.Get("Proxy-Status"), tt.params)
			}
			if challenged := a.Header.Get("Proxy-Authenticate") != ""; challenged != (tt.status == 407) {
				t.Errorf("Proxy-Authenticate %q in a %d", a.Header.Get("Proxy-Authenticate"), tt.status)
			}
			// Content and fields never repeat bytes of the request.
			if strings.Contains(strings.ToLower(a.Raw), "secret") {
				t.Errorf("the answer echoes the request: %q", a.Raw)
			}
			if strings.Contains(ts.AccessLog.String(), "secret-password") || strings.Contains(ts.AccessLog.String(), "secret-field") {
				t.Errorf("the log holds what it must not: %s", ts.AccessLog)
			}
		})
	}
}

// Resolving takes longer than ConnectTimeout allows.
func TestRefusalWhenResolvingTimesOut(t *testing.T) {
	resolver, _, _ := testkit.ResolveLate()
	ts := startServer(t, &Server{Resolver: resolver, ConnectTimeout: 20 * time.Millisecond})
	ts.Refused(proxytest.ConnectHead("example.test:443"), 504, "dns_timeout")
}

// A tunnel above a limit is refused by 503.
func TestRefusalAtMaxTunnels(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		server     *Server
	}{
		{"in all", "max-tunnels", &Server{MaxTunnels: 2}},
		{"per client", "max-tunnels-per-client", &Server{MaxTunnelsPerClient: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, tt.server)
			echo := tunneltest.Start(t, tunneltest.Echo)
			first, second := ts.Open(echo.Addr()), ts.Open(echo.Addr())
			a := ts.Ask(proxytest.ConnectHead(echo.Addr()))
			ts.CheckRefusal(a, 503, "connection_limit_reached").Want(t, "rule", tt.rule)
			testkit.HalfClose(t, first)
			testkit.ExpectLast(t, first, "")
			ts.NextRecord(accesslog.EventClose)
			third := ts.Open(echo.Addr()) // the slot was released before the record was written
			testkit.Send(t, third, "hello")
			testkit.Expect(t, third, "hello")
			ts.Refused(proxytest.ConnectHead(echo.Addr()), 503, "connection_limit_reached")
			second.Close()
			ts.NextRecord(accesslog.EventClose)
			ts.Open(echo.Addr())
		})
	}
}

// The limit per client applies to each address separately.
func TestMaxTunnelsPerClientCountsEachAddress(t *testing.T) {
	ts := startServer(t, &Server{MaxTunnelsPerClient: 1})
	echo := tunneltest.Start(t, tunneltest.Echo)
	ts.Open(echo.Addr())
	ts.Refused(proxytest.ConnectHead(echo.Addr()), 503, "connection_limit_reached")
	other := testkit.DialFrom(t, "127.0.0.5", ts.Addr)
	testkit.Send(t, other, proxytest.ConnectHead(echo.Addr()))
	testkit.Expect(t, other, established)
}

// A tunnel that cannot be opened releases its slot.
func TestRefusedTunnelsGiveTheirSlotBack(t *testing.T) {
	ts := startServer(t, &Server{MaxTunnels: 1, MaxTunnelsPerClient: 1})
	refuses := tunneltest.Unused(t)
	for range 5 {
		ts.Refused(proxytest.ConnectHead(refuses), 502, "connection_refused")
	}
	if n := ts.server.Open(); n != 0 {
		t.Errorf("%d slots are taken", n)
	}
}

// RFC 9931: bytes behind a refused CONNECT may have been meant for the target,
// and are never taken for a request.
func TestRefusedConnectIsTheLastRequest(t *testing.T) {
	for _, behind := range []string{
		"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\n\r\n",
		proxytest.ConnectHead("127.0.0.1:1"),
		"OPTIONS http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
		"\x16\x03\x01", "\r\n\r\n", strings.Repeat("x", 5000),
	} {
		for _, tt := range []struct {
			name, request string
			status        int
			token         string
		}{
			{"denied", proxytest.ConnectHead("169.254.169.254:443"), 403, "destination_ip_prohibited"},
			{"malformed target", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http_request_error"},
			{"content", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", 400, "http_request_error"},
			{"name unknown", proxytest.ConnectHead("example.test:443"), 502, "dns_error"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				ts := startServer(t, &Server{Resolver: testkit.FailToResolve(net.DNSError{IsNotFound: true})})
				ts.Refused(tt.request+behind, tt.status, tt.token) // exactly one answer
				if n := strings.Count(ts.AccessLog.String(), "\n"); n != 1 {
					t.Errorf("%d records, want 1:\n%s", n, ts.AccessLog)
				}
			})
		}
	}
}

// RFC 9931: a 407 closes the connection too, since an attacker may have chosen the bytes
// that follow.
func TestRefused407ClosesTheConnection(t *testing.T) {
	ts := startServer(t, &Server{Verifier: proxytest.OneUser{User: "alice", Password: "secret"}, Resolver: testkit.NeverResolve(t)})
	ts.Refused(proxytest.ConnectHead("example.test:443")+proxytest.ConnectHead("example.test:443", testkit.Basic("alice", "secret")), 407, "http_request_denied")
}

// The answer must arrive although the client goes on sending.
func TestRefusalIsNotLostToAReset(t *testing.T) {
	// More than the kernel buffers, and less than the Server discards.
	bulk := strings.Repeat("x", 200<<10)
	ts := startServer(t, &Server{AllowClient: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	for _, tt := range []struct {
		name, from, head string
		status           int
		token            string
	}{
		{"denied", "127.0.0.1", proxytest.ConnectHead("169.254.169.254:443"), 403, "destination_ip_prohibited"},
		{"malformed target", "127.0.0.1", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http_request_error"},
		{"no head", "127.0.0.1", "\x00", 400, "http_request_error"},
		{"plain, with content", "127.0.0.1", "POST http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\nContent-Length: 204800\r\n\r\n", 403, "destination_ip_prohibited"},
		{"not allowed", "127.0.0.5", "", 403, "http_request_denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := ts.in(t)
			for range 5 {
				conn := testkit.DialFrom(t, tt.from, ts.Addr)
				conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
				testkit.Send(t, conn, tt.head+bulk) // fails if the server cuts the connection
				ts.CheckRefusal(proxytest.ReadAnswer(t, conn), tt.status, tt.token)
			}
		})
	}
}

// Credentials are in no log, right or wrong.
func TestProxyAuthorizationIsNeverLogged(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	right := testkit.Basic("alice", "s3cret")
	wrong := testkit.Basic("alice", "wr0ng")
	for _, tt := range []struct{ name, request string }{
		{"right", proxytest.ConnectHead(echo.Addr(), right)},
		{"wrong", proxytest.ConnectHead(echo.Addr(), wrong)},
		{"not base64", proxytest.ConnectHead(echo.Addr(), "Proxy-Authorization: Basic s3cret")},
		{"another scheme", proxytest.ConnectHead(echo.Addr(), "Proxy-Authorization: Bearer s3cret")},
		{"malformed target", proxytest.ConnectHead("alice:s3cret@example.test:443", right)},
		{"malformed head", proxytest.ConnectHead(echo.Addr(), right, "Proxy-Authorization : s3cret")},
		{"denied", proxytest.ConnectHead("169.254.169.254:1", right)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, &Server{Verifier: proxytest.OneUser{User: "alice", Password: "s3cret"}})
			conn := ts.Dial()
			testkit.Send(t, conn, tt.request)
			testkit.HalfClose(t, conn)
			testkit.Receive(t, "a record", ts.AccessLog.Records)
			ts.server.Close()
			encoded := func(line string) string { return line[strings.LastIndexByte(line, ' ')+1:] }
			for _, secret := range []string{"s3cret", "wr0ng", encoded(right), encoded(wrong), "Proxy-Authorization"} {
				if strings.Contains(ts.AccessLog.String(), secret) {
					t.Errorf("the log holds %q:\n%s", secret, ts.AccessLog)
				}
			}
		})
	}
}

// RFC 9110, section 9.3.2: a reply to HEAD has no content.
func TestRefusedHeadHasNoBody(t *testing.T) {
	ts := startServer(t, &Server{})
	conn := ts.Dial()
	testkit.Send(t, conn, "HEAD http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\n\r\n")
	testkit.HalfClose(t, conn)
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
