package proxy

import (
	"strings"
	"testing"

	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
)

// RFC 9110, section 7.6.1.
func TestPlainRequestFieldsOfOneConnection(t *testing.T) {
	for _, tt := range []struct{ name, fields, want string }{
		{"end-to-end fields stay", "X-B: 1\r\nAccept: a\r\nX-B: 2\r\nCookie: c\r\nAuthorization: Basic x\r\n",
			"X-B: 1\r\nAccept: a\r\nX-B: 2\r\nCookie: c\r\nAuthorization: Basic x\r\nVia: 1.1 p\r\n"},
		{"empty values stay", "X-A:\r\n", "X-A: \r\nVia: 1.1 p\r\n"},
		{"bytes beyond ASCII stay", "X-A: \xe9\xff\r\n", "X-A: \xe9\xff\r\nVia: 1.1 p\r\n"},
		{"the fixed ones", "Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic eDp5\r\nProxy-Authenticate: Basic\r\n" +
			"Upgrade: x\r\nHTTP2-Settings: x\r\nTE: gzip\r\n", "Via: 1.1 p\r\n"},
		{"what Connection names", "Connection: close, X-A ,, x-b\r\nConnection: X-C\r\nX-A: 1\r\nx-B: 2\r\nX-C: 3\r\nX-D: 4\r\n",
			"X-D: 4\r\nVia: 1.1 p\r\n"},
		{"Connection names itself", "Connection: connection\r\n", "Via: 1.1 p\r\n"},
		{"Connection is empty", "Connection:\r\nX-A: 1\r\n", "X-A: 1\r\nVia: 1.1 p\r\n"},
		{"Connection names what is not there", "Connection: x-a, \"quoted\", ;, \xff\r\n", "Via: 1.1 p\r\n"},
		{"Connection names Host", "Connection: host\r\n", "Via: 1.1 p\r\n"},
		{"Connection names Via", "Connection: via\r\nVia: 1.1 a\r\n", "Via: 1.1 p\r\n"},
		{"TE: trailers", "TE: gzip;q=0.5, Trailers\r\n", "Via: 1.1 p\r\nTE: trailers\r\nConnection: TE\r\n"},
		{"TE that Connection names", "TE: trailers\r\nConnection: TE\r\n", "Via: 1.1 p\r\nTE: trailers\r\nConnection: TE\r\n"},
		{"no User-Agent is made up", "", "Via: 1.1 p\r\n"},
		{"User-Agent stays", "User-Agent: u/1\r\n", "User-Agent: u/1\r\nVia: 1.1 p\r\n"},
		{"Accept-Encoding stays", "Accept-Encoding: br\r\n", "Accept-Encoding: br\r\nVia: 1.1 p\r\n"},
		{"Pragma makes no Cache-Control", "Pragma: no-cache\r\n", "Pragma: no-cache\r\nVia: 1.1 p\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			newPlainTest(t).wantForwarded("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n"+tt.fields+"\r\n",
				"GET / HTTP/1.1\r\nHost: ORIGIN\r\n"+tt.want+"\r\n")
		})
	}
}

func TestPlainConnectionCannotTakeTheFramingAway(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nConnection: content-length\r\nContent-Length: 4\r\n\r\nbody")
	if fieldLine(head, "Content-Length") != "4" {
		t.Errorf("the origin got %q", head)
	}
	origin.expect("body")
	origin.send(okHello)
	client.expect(helloHere)
}

func TestPlainReplyFieldsOfOneConnection(t *testing.T) {
	for _, tt := range []struct{ name, fields, want string }{
		{"end-to-end fields stay", "X-B: 1\r\nSet-Cookie: a\r\nX-B: 2\r\nSet-Cookie: b\r\n", "X-B: 1\r\nSet-Cookie: a\r\nX-B: 2\r\nSet-Cookie: b\r\nVia: 1.1 p\r\n"},
		{"the fixed ones", "Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n", "Via: 1.1 p\r\n"},
		{"what Connection names", "Connection: X-A, x-b\r\nX-A: 1\r\nX-b: 2\r\nX-C: 3\r\n", "X-C: 3\r\nVia: 1.1 p\r\n"},
		{"what Connection names beside close", "Connection: X-A\r\nconnection:close,x-b\r\nX-A: 1\r\nX-b: 2\r\nX-C: 3\r\n", "X-C: 3\r\nVia: 1.1 p\r\n"},
		{"Connection names itself", "Connection: connection\r\n", "Via: 1.1 p\r\n"},
		{"Connection names the framing", "Connection: content-length, transfer-encoding\r\n", "Via: 1.1 p\r\n"},
		{"Via is there", "Via: 1.0 a, HTTP/1.1 b (c)\r\nVia: 1.1 d\r\n", "Via: 1.0 a, HTTP/1.1 b (c)\r\nVia: 1.1 d, 1.1 p\r\n"},
		{"our own name in a reply is no loop", "Via: 1.1 p\r\n", "Via: 1.1 p, 1.1 p\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := newPlainTest(t).answered("HTTP/1.1 200 OK\r\n" + date + tt.fields + "Content-Length: 2\r\n\r\nok")
			want := "HTTP/1.1 200 OK\r\n" + date + tt.want + "Content-Length: 2\r\nConnection: close\r\n\r\nok"
			if got != want {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
}

// RFC 9110, section 7.6.3: Via has the version of the message as it came.
func TestPlainViaHasTheReceivedVersion(t *testing.T) {
	p := newPlainTest(t)
	head := p.forwarded("GET http://ORIGIN/ HTTP/1.0\r\nVia: 1.1 a\r\nvia: 1.1 b\r\n\r\n")
	if !strings.Contains(head, "\r\nVia: 1.1 a\r\nvia: 1.1 b, 1.0 p\r\n") {
		t.Errorf("the origin got %q", head)
	}
	got := newPlainTest(t).answered("HTTP/1.0 200 OK\r\n" + date + "Content-Length: 0\r\n\r\n")
	if fieldLine(got, "Via") != "1.0 p" || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("the client got %q", got)
	}
}

func TestPlainLoop(t *testing.T) {
	p := newPlainTest(t)
	for _, via := range []string{"Via: 1.1 p\r\n", "Via: 1.1 a, 1.0 P (c)\r\n", "Via: 1.1 a\r\nvia: HTTP/1.1 p\r\n", "Connection: Via\r\nVia: 1.1 p\r\n"} {
		p.refused("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n"+via+"\r\n", 502, "proxy_loop_detected")
	}
	p.origin.untouched()
}

// RFC 9110, section 6.6.1.
func TestPlainDateIsAddedWhereThereIsNone(t *testing.T) {
	got := newPlainTest(t).answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if !strings.HasSuffix(fieldLine(got, "Date"), " GMT") {
		t.Errorf("got %q", got)
	}
}

// RFC 9110, section 7.6.2.
func TestPlainMaxForwardsCountsDown(t *testing.T) {
	p := newPlainTest(t)
	for _, tt := range []struct{ method, value, want string }{
		{"OPTIONS", "10", "9"}, {"TRACE", "1", "0"}, {"OPTIONS", "2147483647", "2147483646"},
		{"GET", "0", "0"}, {"GET", "5", "5"}, {"OPTIONS", "x", "x"}, {"OPTIONS", "-1", "-1"}, {"OPTIONS", "", ""},
	} {
		head := p.forwarded(tt.method + " http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: " + tt.value + "\r\n\r\n")
		if got := fieldLine(head, "Max-Forwards"); got != tt.want {
			t.Errorf("%s with %q became %q, want %q", tt.method, tt.value, got, tt.want)
		}
	}
}

func TestPlainMaxForwardsZeroTRACE(t *testing.T) {
	p := newPlainTest(t)
	client := p.begin("TRACE http://ORIGIN/a HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nCookie: secret\r\nX-A: b\r\n" +
		testkit.Basic("u", "secret") + "\r\nAuthorization: secret\r\n\r\n")
	reply, body := client.reply("TRACE")
	want := p.fill("TRACE http://ORIGIN/a HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nX-A: b\r\n\r\n")
	if reply.StatusCode != 200 || reply.Header.Get("Content-Type") != "message/http" || body != want {
		t.Errorf("got %v with %q, want %q", reply, body, want)
	}
	p.logged(200, 0, len(want)).Want(t, "rule", "max-forwards")
	p.origin.untouched()
	client.send(p.fill(simpleGet)) // the connection is kept
	p.origin.accept().head()
}

func TestPlainMaxForwardsZeroOPTIONS(t *testing.T) {
	p := newPlainTest(t)
	client := p.begin("OPTIONS http://ORIGIN HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n")
	reply, body := client.reply("OPTIONS")
	if reply.StatusCode != 200 || !strings.Contains(reply.Header.Get("Allow"), "CONNECT") || body != "" {
		t.Errorf("got %v with %q", reply, body)
	}
	p.origin.untouched()
}

// A TRACE or OPTIONS that ends at the proxy is subject to the policy, too.
func TestPlainMaxForwardsIsJudgedFirst(t *testing.T) {
	p := plainTestWith(t, &Server{Policy: policy.Policy{Allow: []policy.Pattern{}}})
	p.refused("TRACE http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n", 403, "http_request_denied")
}

// The content that came with the request is not read, so the connection is not kept.
func TestPlainMaxForwardsZeroWithContent(t *testing.T) {
	p := newPlainTest(t)
	a := p.ts.Ask(p.fill("OPTIONS http://ORIGIN HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nContent-Length: 40\r\n\r\n" + simpleGet[:40]))
	if a.Status != 200 || !strings.Contains(a.Raw, "\r\nConnection: close\r\n") {
		t.Errorf("got %q", a.Raw)
	}
	p.origin.untouched()
}
