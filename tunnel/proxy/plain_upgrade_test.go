package proxy

import (
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

const (
	webSocketGet = "GET http://ORIGIN/chat?a=b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade, X-A\r\nX-A: 1\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	webSocketThere = "GET /chat?a=b HTTP/1.1\r\nHost: ORIGIN\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nVia: 1.1 p\r\n" +
		"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	webSocket101 = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade, x-b\r\nX-B: 2\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	webSocketHere = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nVia: 1.1 p\r\n\r\n"
)

// RFC 9110, section 7.8; bytes directly behind both heads belong to the new protocol.
func TestPlainUpgradeBecomesATunnel(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange(webSocketGet + "early\x00")
	if want := p.fill(webSocketThere); head != want {
		t.Errorf("the origin got %q\nwant %q", head, want)
	}
	origin.send(webSocket101 + "first\xff")
	client.expect(webSocketHere + "first\xff")
	origin.expect("early\x00")
	rec := p.ts.NextRecord(accesslog.EventOpen)
	rec.WantNumber(t, "status", 101)
	rec.Want(t, "method", "GET")
	rec.Want(t, "addr", p.origin.addr)
	client.send("GET / HTTP/1.1\r\n\r\n")
	origin.expect("GET / HTTP/1.1\r\n\r\n")
	testkit.HalfClose(t, client.Conn)
	if got := origin.rest(); got != "" {
		t.Errorf("the origin got %q", got)
	}
	origin.send("last")
	origin.Close()
	if got := client.rest(); got != "last" {
		t.Errorf("the client got %q", got)
	}
	rec = p.ts.NextRecord(accesslog.EventClose)
	rec.WantNumber(t, "up", len("early\x00GET / HTTP/1.1\r\n\r\n"))
	rec.WantNumber(t, "down", len("first\xfflast"))
	if p.ts.server.Open() != 0 {
		t.Error("a slot is taken")
	}
}

func TestPlainUpgradeAfterAGet(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	origin.send(okHello)
	client.expect(helloHere)
	client.send(p.fill(webSocketGet))
	upgraded := p.origin.accept() // a connection of its own
	upgraded.head()
	upgraded.send(webSocket101)
	client.expect(webSocketHere)
}

func TestPlainUpgradeWithInterimReply(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(webSocketGet)
	origin.send("HTTP/1.1 103 Early Hints\r\n\r\n" + webSocket101)
	client.expect("HTTP/1.1 103 Early Hints\r\n\r\n" + webSocketHere)
}

func TestPlainUpgradeDeclined(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(webSocketGet)
	origin.send(okHello)
	client.expect(helloHere)
	p.logged(200, 0, 5)
	origin.ended()
	client.send(p.fill(simpleGet)) // the client's connection is kept
	again := p.origin.accept()
	again.head()
	again.send(okHello)
	client.expect(helloHere)
	if p.ts.server.Open() != 0 {
		t.Error("a slot is taken")
	}
}

// The answer to a declined upgrade streams like any other.
func TestPlainUpgradeDeclinedStreams(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(webSocketGet)
	origin.send("HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n")
	client.head()
	origin.send("1\r\na\r\n")
	client.expect("1\r\na\r\n")
	origin.send("0\r\n\r\n")
	client.expect("0\r\n\r\n")
}

func TestPlainUpgradeToWhatWasNotAskedFor(t *testing.T) {
	for name, fields := range map[string]string{
		"another": "Connection: upgrade\r\nUpgrade: h2c\r\n", "one more": "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n", "none": "",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlainTest(t)
			client, origin, _ := p.exchange(webSocketGet)
			origin.send("HTTP/1.1 101 Switching Protocols\r\n" + fields + "\r\n")
			p.ts.CheckRefusal(proxytest.ReadAnswer(t, client.Conn), 502, "http_protocol_error")
			client.Close() // Close would wait for it
			origin.ended()
		})
	}
}

func TestPlainUpgradeBadReplies(t *testing.T) {
	for name, tt := range map[string]struct{ reply, token string }{
		"nothing":          {"", "connection_terminated"},
		"garbage":          {"SSH-2.0-OpenSSH\r\n\r\n", "http_protocol_error"},
		"head without end": {"HTTP/1.1 101 X\r\nX: " + strings.Repeat("x", 600<<10), "http_response_header_section_size"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlainTest(t)
			client, origin, _ := p.exchange(webSocketGet)
			origin.Write([]byte(tt.reply))                 // may fail, if the proxy has closed
			_ = origin.Conn.(sock.HalfCloser).CloseWrite() // may fail as well
			p.ts.CheckRefusal(proxytest.ReadAnswer(t, client.Conn), 502, tt.token)
		})
	}
}

// Upgrade is ignored for HTTP/2, whose frames would carry requests that the policy has
// not judged; from HTTP/1.0 (RFC 9110, section 7.8); and if Connection does not name it.
func TestPlainUpgradeThatIsNotRelayed(t *testing.T) {
	for name, tt := range map[string]struct{ version, fields string }{
		"h2c":              {"1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"},
		"h2c among others": {"1.1", "Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n"},
		"not named":        {"1.1", "Upgrade: websocket\r\n"},
		"HTTP/1.0":         {"1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			newPlainTest(t).wantForwarded("GET http://ORIGIN/ HTTP/"+tt.version+"\r\nHost: x\r\n"+tt.fields+"\r\n",
				"GET / HTTP/1.1\r\nHost: ORIGIN\r\nVia: "+tt.version+" p\r\n\r\n")
		})
	}
}

func TestPlainUpgradeWithContentIsAPlainRequest(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 4\r\n\r\nbody")
	if strings.Contains(head, "Upgrade") {
		t.Errorf("the origin got %q", head)
	}
	origin.expect("body")
	origin.send(okHello)
	client.expect(helloHere)
}

func TestPlainUpgradeIsJudged(t *testing.T) {
	p := plainTestWith(t, &Server{Policy: policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "127.0.0.1")}}})
	p.refused(webSocketGet, 403, "http_request_denied")
	p.origin.untouched()
}

func TestPlainUpgradeTakesASlot(t *testing.T) {
	p := plainTestWith(t, &Server{MaxTunnels: 1})
	client, origin, _ := p.exchange(webSocketGet)
	origin.send(webSocket101)
	client.expect(webSocketHere)
	p.refused(webSocketGet, 503, "connection_limit_reached")
}

// parentOf starts a parent that the test plays, and a proxy with a route through it.
func parentOf(t *testing.T, userinfo string) *plainTest {
	t.Helper()
	parent := startOrigin(t)
	route, err := tunnel.ParseRoute("http://" + userinfo + parent.addr)
	if err != nil {
		t.Fatal(err)
	}
	p := plainTestWith(t, &Server{Via: []ViaRule{{Route: route}}, Resolver: testkit.NeverResolve(t)})
	p.origin = parent
	return p
}

// A parent gets the request in absolute-form, with the route's credentials and not the
// client's.
func TestPlainThroughAParent(t *testing.T) {
	p := parentOf(t, "me:pw@")
	for sent, want := range map[string]string{
		"GET http://a.example:80//x?y=%zz":  "GET http://a.example//x?y=%zz",
		"GET http://a.example":              "GET http://a.example/",
		"OPTIONS http://a.example:81":       "OPTIONS http://a.example:81",
		"OPTIONS http://a.example/":         "OPTIONS http://a.example/",
		"DELETE http://A.example.:8080/|^?": "DELETE http://a.example:8080/|^?",
	} {
		client := p.begin(sent + " HTTP/1.1\r\nHost: x\r\n" + testkit.Basic("client", "secret") + "\r\nConnection: close\r\n\r\n")
		parent := p.origin.accept()
		host := strings.SplitN(want, "/", 4)[2]
		if got, want := parent.head(), want+" HTTP/1.1\r\nHost: "+host+"\r\nVia: 1.1 p\r\n"+testkit.Basic("me", "pw")+"\r\n\r\n"; got != want {
			t.Errorf("the parent got %q\nwant %q", got, want)
		}
		parent.send("HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 parent\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		if got := client.rest(); fieldLine(got, "Via") != "1.1 parent, 1.1 p" {
			t.Errorf("the client got %q", got)
		}
		p.ts.NextRecord(accesslog.EventRequest).Want(t, "via", "http://"+p.origin.addr)
	}
}

func TestPlainParentConnectionsAreKept(t *testing.T) {
	p := parentOf(t, "")
	client, parent, _ := p.exchange("GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
	parent.send(okHello)
	client.expect(helloHere)
	client.send("GET http://b.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := parent.head(); !strings.HasPrefix(got, "GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n") {
		t.Errorf("the parent got %q", got)
	}
}

// The client does not get the parent's 407, which only the operator could answer.
func TestPlainParentThatWantsCredentials(t *testing.T) {
	p := parentOf(t, "")
	client, parent, _ := p.exchange("GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
	parent.send("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=parent\r\nContent-Length: 0\r\n\r\n")
	a := proxytest.ReadAnswer(t, client.Conn)
	p.ts.CheckRefusal(a, 502, "http_protocol_error")
	if strings.Contains(a.Raw, "realm") {
		t.Errorf("the client got %q", a.Raw)
	}
}

// Two rules may have the same parent with different credentials.
func TestPlainParentsDoNotShareCredentials(t *testing.T) {
	parent := startOrigin(t)
	var rules []ViaRule
	for _, s := range []string{"a.example=http://one:1@", "http://two:2@"} {
		rule, err := ParseViaRule(s + parent.addr)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
	}
	p := plainTestWith(t, &Server{Via: rules})
	p.origin = parent
	for host, want := range map[string]string{"a.example": testkit.Basic("one", "1"), "b.example": testkit.Basic("two", "2")} {
		if head := p.forwarded("GET http://" + host + "/ HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.Contains(head, want+"\r\n") {
			t.Errorf("for %s the parent got %q", host, head)
		}
	}
}

// A target behind a parent is judged by name, and a literal by address.
func TestPlainPolicyAppliesToParents(t *testing.T) {
	parent := startOrigin(t)
	p := plainTestWith(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, "http://"+parent.addr)}},
		Policy: policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "bad.example")}}})
	p.origin = parent
	p.refused("GET http://bad.example/ HTTP/1.1\r\nHost: x\r\n\r\n", 403, "http_request_denied")
	p.refused("GET http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\n\r\n", 403, "destination_ip_prohibited")
	parent.untouched()
}

func TestPlainParentThatIsNotThere(t *testing.T) {
	p := parentOf(t, "")
	p.origin.listener.Close()
	a := p.ts.Ask("GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
	p.ts.CheckRefusal(a, 502, "connection_refused")
	if strings.Contains(a.Raw, p.origin.addr) {
		t.Errorf("the client learns the parent: %q", a.Raw)
	}
}

// An upgrade goes through a parent in a tunnel: CONNECT with the parent's
// credentials, then origin-form without them.
func TestPlainUpgradeThroughAParent(t *testing.T) {
	p := parentOf(t, "me:pw@")
	client, parent, head := p.exchange(strings.ReplaceAll(webSocketGet, "ORIGIN", "ws.example"))
	if strings.Contains(head, "Proxy-Authorization") {
		t.Errorf("unasked, the parent got %q", head)
	}
	parent.send("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
	head = parent.head()
	if !strings.HasPrefix(head, "CONNECT ws.example:80 HTTP/1.1\r\nHost: ws.example:80\r\n") || !strings.Contains(head, testkit.Basic("me", "pw")+"\r\n") || fieldLine(head, "Via") != "1.1 p" {
		t.Errorf("the parent got %q", head)
	}
	parent.send(established)
	if got, want := parent.head(), strings.ReplaceAll(webSocketThere, "ORIGIN", "ws.example"); got != want {
		t.Errorf("through the parent came %q\nwant %q", got, want)
	}
	parent.send(webSocket101 + "first")
	client.expect(webSocketHere + "first")
	client.send("up")
	parent.expect("up")
	client.Close()
	parent.Close()
	rec := p.ts.NextRecord(accesslog.EventClose)
	rec.WantNumber(t, "up", 2)
	rec.WantNumber(t, "down", 5)
	rec.Want(t, "via", "http://"+p.origin.addr)
}

// With a chain of two parents, the second gets absolute-form in a tunnel through the
// first.
func TestPlainThroughTwoParents(t *testing.T) {
	second := startOrigin(t)
	first := tunneltest.StartProxy(t, tunneltest.Honest()...)
	p := plainTestWith(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, "http://"+first.Addr(), "http://u:p@"+second.addr)}}})
	p.origin = second
	head := p.forwarded("GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
	if want := "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 p\r\n" + testkit.Basic("u", "p") + "\r\n\r\n"; head != want {
		t.Errorf("the second parent got %q, want %q", head, want)
	}
	if heads := first.Heads(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT "+second.addr+" ") || strings.Contains(heads[0], "Authorization") {
		t.Errorf("the first parent got %q", heads)
	}
}
