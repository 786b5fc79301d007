package proxy

import (
	"bufio"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// through starts a Server whose parent plays the script, and which resolves no name.
func through(t *testing.T, s *Server, script ...tunneltest.Step) (*testServer, *tunneltest.Proxy) {
	t.Helper()
	parent := tunneltest.StartProxy(t, script...)
	s.Via = append(s.Via, ViaRule{Route: testkit.MustRoute(t, parent.Addr())})
	if s.Resolver == nil {
		s.Resolver = testkit.NeverResolve(t)
	}
	return startServer(t, s), parent
}

// RFC 9110, section 7.6.3.
func TestViaParentGetsConnectWithVia(t *testing.T) {
	for _, tt := range []struct{ name, version, fields, via string }{
		{"none", "1.1", "Host: a\r\n", "1.1 me"},
		{"from HTTP/1.0", "1.0", "", "1.0 me"},
		{"behind others", "1.1", "Host: a\r\nVia: 1.0 first, 1.1 second (comment)\r\n", "1.0 first, 1.1 second (comment), 1.1 me"},
		{"behind several fields", "1.1", "Host: a\r\nVia: 1.0 first\r\nvia: 1.1 second\r\n", "1.0 first, 1.1 second, 1.1 me"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts, parent := through(t, &Server{Name: "me"}, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(tunneltest.Echo))
			conn := ts.Dial()
			testkit.Send(t, conn, "CONNECT Name.test:443 HTTP/"+tt.version+"\r\n"+tt.fields+"X-Secret: x\r\nProxy-Authorization: Basic YTpi\r\nUser-Agent: y\r\n\r\n")
			testkit.Expect(t, conn, established)
			opened := ts.NextRecord(accesslog.EventOpen)
			opened.Want(t, "via", "http://"+parent.Addr())
			opened.Want(t, "addr", parent.Addr())
			opened.Want(t, "target", "name.test:443")
			// Nothing else of the client's request is passed on.
			want := "CONNECT name.test:443 HTTP/1.1\r\nHost: name.test:443\r\nVia: " + tt.via + "\r\n\r\n"
			if heads := parent.Heads(); len(heads) != 1 || heads[0] != want {
				t.Errorf("the parent got %q, want %q", heads, want)
			}
			testkit.Send(t, conn, "hello")
			testkit.Expect(t, conn, "hello")
		})
	}
}

// A parent gets the operator's credentials for it, and never the client's.
func TestViaParentGetsItsOwnCredentials(t *testing.T) {
	parent := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"),
		tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 403 No\r\n\r\n"))
	ts := startServer(t, &Server{
		Name: "me", Verifier: proxytest.OneUser{User: "alice", Password: "client-password"},
		Via: []ViaRule{{Route: testkit.MustRoute(t, "http://operator:s3cret@"+parent.Addr())}},
	})
	a := ts.Refused(proxytest.ConnectHead("example.test:443", testkit.Basic("alice", "client-password")), 403, "http_request_denied")
	head := strings.Join(parent.Heads(), "")
	if !strings.Contains(head, testkit.Basic("operator", "s3cret")+"\r\n") || strings.Count(head, "Proxy-Authorization") != 1 {
		t.Errorf("the parent got %q", head)
	}
	for _, secret := range []string{"s3cret", "operator", "client-password", parent.Addr()} {
		if strings.Contains(a.Raw, secret) || secret != parent.Addr() && strings.Contains(ts.AccessLog.String(), secret) {
			t.Errorf("%q shows in the answer %q or the log %s", secret, a.Raw, ts.AccessLog)
		}
	}
}

// A parent's 407 is told by its cause: this proxy has no credentials for it, or they are
// wrong. The client is not asked for any.
func TestViaParentRefusesCredentials(t *testing.T) {
	for login, want := range map[string]string{
		"":               "the next proxy wants credentials that this proxy does not have",
		"ada:forgotten@": "the next proxy refused this proxy's credentials",
	} {
		parent := tunneltest.Start(t, func(conn net.Conn) {
			for r := bufio.NewReader(conn); ; {
				if _, err := wire.ReadRequest(r, 0); err != nil {
					return
				}
				io.WriteString(conn, "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
			}
		})
		ts := startServer(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, "http://"+login+parent.Addr())}}})
		for name, head := range map[string]string{
			"CONNECT": proxytest.ConnectHead("example.test:443"),
			"GET":     "GET http://example.test/ HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n",
		} {
			if a := ts.Refused(head, 502, "http_protocol_error"); !strings.Contains(a.Raw, want) || strings.Contains(a.Raw, "forgotten") {
				t.Errorf("%s with %q: answer %q", name, login, a.Raw)
			}
		}
	}
}

// Bytes directly behind the parent's 2xx are the target's.
func TestViaParentsGluedBytesReachTheClientFirst(t *testing.T) {
	for _, size := range []int{8, 4000, 100_000} {
		glued := strings.Repeat("g", size)
		ts, _ := through(t, &Server{}, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"+glued), tunneltest.Serve(tunneltest.Echo))
		conn := ts.Open("example.test:443")
		testkit.Expect(t, conn, glued)
		testkit.Send(t, conn, "hello")
		testkit.HalfClose(t, conn)
		testkit.ExpectLast(t, conn, "hello")
		ts.NextRecord(accesslog.EventClose).WantNumber(t, "down", size+5)
	}
}

// Sent early, the bytes would be a request for a parent that refuses and reads on.
func TestViaParentGetsNoEarlyBytesBeforeIts2xx(t *testing.T) {
	early := make(chan string, 1)
	listens := func(turn *tunneltest.Turn) bool {
		turn.Conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // nothing may come, after any wait
		b := make([]byte, 100)
		n, _ := turn.Conn.Read(b)
		early <- string(b[:n])
		turn.Conn.SetReadDeadline(time.Time{})
		return true
	}
	ts, _ := through(t, &Server{}, tunneltest.ReadHead, listens, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(tunneltest.Echo))
	conn := ts.Dial()
	testkit.Send(t, conn, proxytest.ConnectHead("example.test:443")+"early")
	if got := testkit.Receive(t, "the parent", early); got != "" {
		t.Errorf("before its 2xx the parent got %q", got)
	}
	testkit.Expect(t, conn, established+"early")

	refuses, parent := through(t, &Server{}, tunneltest.Answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")...)
	refuses.Refused(proxytest.ConnectHead("example.test:443")+proxytest.ConnectHead("other.test:443"), 403, "http_request_denied")
	if heads := parent.Heads(); len(heads) != 1 {
		t.Errorf("the parent got %q", heads)
	}
}

// A chain that leads back is detected by the pseudonym, not by counting.
func TestViaLoopThroughOurselvesIsFound(t *testing.T) {
	l := testkit.Listen(t, "127.0.0.1:0")
	ts := startServerOn(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, l.Addr().String())}}}, l)
	ts.Refused(proxytest.ConnectHead("example.test:443"), 502, "proxy_loop_detected")
}

// Two Servers in a row are not a loop, although neither has a Name.
func TestViaAnotherServerIsNoLoop(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	outer := startServer(t, &Server{})
	inner := startServer(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, outer.Addr)}}})
	conn := inner.Open(echo.Addr())
	testkit.Send(t, conn, "hello")
	testkit.HalfClose(t, conn)
	testkit.ExpectLast(t, conn, "hello")
	for _, ts := range []*testServer{inner, outer} {
		closed := ts.NextRecord(accesslog.EventClose)
		closed.Want(t, "closed_by", "client")
		closed.WantNumber(t, "up", 5)
	}
	// A refusal by the second is passed on as it is.
	inner.Refused(proxytest.ConnectHead("169.254.169.254:80"), 403, "destination_ip_prohibited")
	inner.Refused(proxytest.ConnectHead(tunneltest.Unused(t)), 502, "connection_refused")
}

// How a parent's answer reaches the client.
func TestViaParentsAnswerIsMapped(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script []tunneltest.Step
		status int
		token  string
	}{
		{"403", tunneltest.Answer("HTTP/1.1 403 Secret\r\nContent-Length: 6\r\n\r\nsecret"), 403, "http_request_denied"},
		{"407", tunneltest.Answer("HTTP/1.1 407 Secret\r\nProxy-Authenticate: Basic realm=secret\r\n\r\n"), 502, "http_protocol_error"},
		{"401", tunneltest.Answer("HTTP/1.1 401 Secret\r\nWWW-Authenticate: Basic realm=secret\r\n\r\n"), 502, "http_protocol_error"},
		{"302", tunneltest.Answer("HTTP/1.1 302 Found\r\nLocation: http://secret.test/\r\n\r\n"), 403, "http_request_denied"},
		{"400", tunneltest.Answer("HTTP/1.1 400 Bad\r\n\r\n"), 502, "http_protocol_error"},
		{"405", tunneltest.Answer("HTTP/1.1 405 No\r\n\r\n"), 502, "http_protocol_error"},
		{"502", tunneltest.Answer("HTTP/1.1 502 Bad\r\n\r\nsecret"), 502, "destination_unavailable"},
		{"504", tunneltest.Answer("HTTP/1.1 504 Slow\r\n\r\n"), 504, "connection_timeout"},
		{"502 with Proxy-Status", tunneltest.Answer("HTTP/1.1 502 Bad\r\nProxy-Status: secret; error=dns_error; rcode=NXDOMAIN; details=\"secret\"\r\n\r\n"), 502, "dns_error"},
		{"503 with Proxy-Status", tunneltest.Answer("HTTP/1.1 503 Full\r\nProxy-Status: secret; error=connection_limit_reached\r\n\r\n"), 503, "connection_limit_reached"},
		{"a loop behind it", tunneltest.Answer("HTTP/1.1 502 Bad\r\nProxy-Status: secret; error=proxy_loop_detected\r\n\r\n"), 502, "proxy_loop_detected"},
		{"no HTTP", tunneltest.Answer("220 secret ESMTP\r\n"), 502, "http_protocol_error"},
		{"half a head", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\nX: secret")}, 502, "http_response_incomplete"},
		{"nothing", []tunneltest.Step{tunneltest.ReadHead}, 502, "connection_terminated"},
		{"a reset", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Cut}, 502, "connection_terminated"},
		{"a head without end", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n"), tunneltest.Repeat("X: secret\r\n")}, 502, "http_response_header_section_size"},
		{"no answer in time", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Hold}, 504, "connection_read_timeout"},
		{"half an answer in time", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n"), tunneltest.Hold}, 504, "connection_read_timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ts *testServer
			var parent *tunneltest.Proxy
			var a proxytest.Answer
			testkit.WithLimits(func(limit time.Duration, _ bool) bool {
				s := &Server{}
				if strings.HasSuffix(tt.name, "in time") {
					s.ConnectTimeout = limit
				}
				ts, parent = through(t, s, tt.script...)
				a = ts.Ask(proxytest.ConnectHead("example.test:443"))
				return s.ConnectTimeout == 0 || strings.Contains(a.Raw, tt.token)
			})
			rec := ts.CheckRefusal(a, tt.status, tt.token)
			rec.Want(t, "via", "http://"+parent.Addr())
			// The client does not get the parent's name and words.
			if strings.Contains(strings.ToLower(a.Raw), "secret") || strings.Contains(a.Raw, parent.Addr()) || a.Header.Get("Proxy-Authenticate") != "" {
				t.Errorf("the answer tells of the parent: %q", a.Raw)
			}
		})
	}
}

// ConnectTimeout bounds TLS with a parent too, for a CONNECT and a plain request alike.
func TestViaParentSilentInTLS(t *testing.T) {
	for _, request := range []string{proxytest.ConnectHead("example.test:443"), "GET http://example.test/ HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n"} {
		parent := tunneltest.Start(t, tunneltest.Silent)
		ts := startServer(t, &Server{ConnectTimeout: 10 * testkit.BriefWait, Via: []ViaRule{{Route: testkit.MustRoute(t, "https://"+parent.Addr())}}})
		ts.Refused(request, 504, "connection_read_timeout")
	}
}

func TestViaParentUnreachable(t *testing.T) {
	unused := tunneltest.Unused(t)
	ts := startServer(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, unused)}}})
	a := ts.Refused(proxytest.ConnectHead("example.test:443"), 502, "connection_refused")
	if strings.Contains(a.Raw, unused) {
		t.Errorf("the answer names the parent: %q", a.Raw)
	}
	named := startServer(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, "proxy.test:3128")}}, Resolver: testkit.FailToResolve(net.DNSError{IsNotFound: true})})
	a = named.Refused(proxytest.ConnectHead("example.test:443"), 502, "dns_error")
	if strings.Contains(a.Raw, "proxy.test") {
		t.Errorf("the answer names the parent: %q", a.Raw)
	}
}

// Bugs other programs had: policy skipped when a parent proxy is set.
func TestViaParentDoesNotReplacePolicy(t *testing.T) {
	ts, parent := through(t, &Server{
		Policy:   policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "*.denied.test"), proxytest.MustPattern(t, "192.0.2.0/24")}, DenyAddr: []policy.AddrRule{proxytest.MustAddrRule(t, "198.51.100.0/24")}},
		Verifier: proxytest.OneUser{User: "alice", Password: "secret"},
	}, tunneltest.Honest()...)
	user := testkit.Basic("alice", "secret")
	ts.Refused(proxytest.ConnectHead("a.denied.test:443"), 407, "http_request_denied")
	for target, token := range map[string]string{
		"a.denied.test:443":              "http_request_denied",
		"192.0.2.1:443":                  "http_request_denied",
		"198.51.100.1:443":               "destination_ip_prohibited",
		"169.254.169.254:80":             "destination_ip_prohibited",
		"[::ffff:169.254.169.254]:80":    "destination_ip_prohibited",
		"[64:ff9b::169.254.169.254]:443": "destination_ip_prohibited",
		"[fd00:ec2::254]:80":             "destination_ip_prohibited",
	} {
		ts.Refused(proxytest.ConnectHead(target, user), 403, token)
	}
	if heads := parent.Heads(); len(heads) != 0 {
		t.Errorf("the parent was asked: %q", heads)
	}
}

// The first match wins, and direct makes an exception.
func TestViaRulesChooseTheRoute(t *testing.T) {
	general := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 403 general\r\n\r\n")...)
	special := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 502 special\r\n\r\n")...)
	echo := tunneltest.Start(t, tunneltest.Echo)
	s := &Server{Resolver: testkit.ResolveTo("127.0.0.1")}
	for _, rule := range []string{
		"direct.test=direct", "127.0.0.0/8=direct", ".special.test:443=http://" + special.Addr(), "http://" + general.Addr(),
	} {
		r, err := ParseViaRule(rule)
		if err != nil {
			t.Fatal(err)
		}
		s.Via = append(s.Via, r)
	}
	ts := startServer(t, s)
	ts.Open("direct.test:" + echo.Port())
	ts.Open(echo.Addr())
	ts.Refused(proxytest.ConnectHead("special.test:443"), 502, "destination_unavailable")
	ts.Refused(proxytest.ConnectHead("a.special.test:443"), 502, "destination_unavailable")
	ts.Refused(proxytest.ConnectHead("a.special.test:444"), 403, "http_request_denied")
	ts.Refused(proxytest.ConnectHead("elsewhere.test:443"), 403, "http_request_denied")
}

func TestViaUnixParentAndTwoHops(t *testing.T) {
	path := testkit.SocketPath(t)
	first := tunneltest.StartProxyOn(t, "unix", path, tunneltest.Honest()...)
	second := tunneltest.StartProxy(t, tunneltest.Honest()...)
	echo := tunneltest.Start(t, tunneltest.Greet("hi"))
	ts := startServer(t, &Server{Name: "me", Via: []ViaRule{{Route: testkit.MustRoute(t, "unix:"+path, second.Addr())}}})
	conn := ts.Open(echo.Addr())
	testkit.Expect(t, conn, "hi")
	testkit.Send(t, conn, "hello")
	testkit.HalfClose(t, conn)
	testkit.ExpectLast(t, conn, "hello")
	closed := ts.NextRecord(accesslog.EventClose)
	closed.Want(t, "via", "unix:"+path+",http://"+second.Addr())
	closed.WantNumber(t, "down", 7)
	if heads := first.Heads(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT "+second.Addr()+" ") {
		t.Errorf("the first hop got %q", heads)
	}
	if heads := second.Heads(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT "+echo.Addr()+" ") {
		t.Errorf("the second hop got %q", heads)
	}
}

func TestParseViaRule(t *testing.T) {
	for _, tt := range []struct{ in, pattern, route string }{
		{"http://proxy.test:3128", "", "http://proxy.test:3128"},
		{"proxy.test:3128", "", "http://proxy.test:3128"},
		{"http://user:pass=word@proxy.test", "", "http://proxy.test:80"},
		{"direct", "", "direct"},
		{"*.corp.test=direct", "*.corp.test", "direct"},
		{"10.0.0.0/8=http://proxy.test:1,http://second.test:2", "10.0.0.0/8", "http://proxy.test:1,http://second.test:2"},
		{"[2001:db8::/32]:443=http://proxy.test:1", "[2001:db8::/32]:443", "http://proxy.test:1"},
		{"a.test=unix:/run/p=1", "a.test", "unix:/run/p=1"},
		{"unix:/run/p=1", "", "unix:/run/p=1"},
	} {
		rule, err := ParseViaRule(tt.in)
		if err != nil {
			t.Errorf("ParseViaRule(%q): %v", tt.in, err)
			continue
		}
		pattern := ""
		if rule.Pattern != nil {
			pattern = rule.Pattern.String()
		}
		if pattern != tt.pattern || rule.Route.String() != tt.route {
			t.Errorf("ParseViaRule(%q) = %q, %q, want %q, %q", tt.in, pattern, rule.Route, tt.pattern, tt.route)
		}
	}
	for _, in := range []string{"", "=http://proxy.test", "a.test=", "a..test=direct", "a.test=ftp://proxy.test", "http://a.test|ftp://b.test", "http://a.test|"} {
		if rule, err := ParseViaRule(in); err == nil {
			t.Errorf("ParseViaRule(%q) = %v, want an error", in, rule)
		}
	}
}

// Rules share a parent's connections if they share its credentials.
func TestViaParentsAreSharedByValue(t *testing.T) {
	s := &Server{}
	mine := s.parentClient(testkit.MustRoute(t, "h2c://me:pw@parent:1"))
	if again := s.parentClient(testkit.MustRoute(t, "h2c://me:pw@parent:1")); again != mine {
		t.Error("an equal route has connections of its own")
	}
	for _, other := range []string{"h2c://you:pw@parent:1", "h2c://me:other@parent:1", "h2c://parent:1", "h2c://me:pw@parent:1,http://next:1"} {
		if s.parentClient(testkit.MustRoute(t, other)) == mine {
			t.Errorf("%s shares the connections of another user or route", testkit.MustRoute(t, other))
		}
	}
}

// Tunnels and plain requests go through a SOCKS parent, with names unresolved.
func TestViaSOCKS(t *testing.T) {
	p := testkit.SOCKSProxy(t, "05 01 00 > 05 00 ; 05 01 00 03 09 612e6578616d706c65 0050 > 05 00 00 01 00000000 0000 ;")
	ts := startServer(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, "socks5h://"+p.Addr())}}})
	conn := ts.Open("a.example:80")
	testkit.Send(t, conn, "hello")
	testkit.Expect(t, conn, "hello")
	conn.Close()
	if got := ts.Ask("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n"); got.Status != 502 {
		t.Errorf("an echo is no origin: %q", got.Raw) // but the request reached it
	}
	if _, err := ParseViaRule("socks5://proxy.example"); err == nil || !strings.Contains(err.Error(), "use socks5h") {
		t.Errorf("names resolved unjudged: %v", err)
	}
}

// What this proxy lacks on the way to a parent is not the parent's fault.
func TestOwnLackOnTheWayToAParent(t *testing.T) {
	err := os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)
	e := parentFailure(&tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.DialErrorType(err), Hop: "parent.test:3128", Detail: neterr.Lack(err), Err: err})
	if e.HTTPStatus() != 503 || e.Cause() != "no local port is left for another connection to this address" {
		t.Errorf("%d, %q", e.HTTPStatus(), e.Cause())
	}
}
