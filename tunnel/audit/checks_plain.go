package audit

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
)

const (
	hopByHopRule = "RFC 9110, section 7.6.1"
	viaRule      = "RFC 9110, section 7.6.3"
)

// plain is about http:// requests through the proxy: absolute-form in, origin-form
// out.
var plain = []check{
	{"plain-origin-form", "absolute-form becomes origin-form", "RFC 9112, section 3.2.1", must, needPlain, func(t *trial) {
		if s, _ := t.exchange("GET http://{target}/a/b?c=d HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", okReply); !strings.HasPrefix(s.line(), "GET /a/b?c=d HTTP/1.") {
			t.fail(`the origin got "%s"`, wire.Escape([]byte(s.line()), 100))
		}
	}},
	{"plain-host", "Host is made anew from the target", "RFC 9112, section 3.2.2", must, needPlain, func(t *trial) {
		if s, _ := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: elsewhere.invalid\r\n{auth}\r\n", okReply); len(s.values("Host")) != 1 || !slices.Contains(t.hosts(), s.values("Host")[0]) {
			t.fail(`the origin got Host: "%s"`, strings.Join(s.values("Host"), `", "`))
		}
	}},
	{"plain-via-request", "Via is added to requests", viaRule, must, needPlain, func(t *trial) {
		if s, _ := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", okReply); !s.has("Via") {
			t.fail("the origin got none")
		}
	}},
	{"plain-via-appended", "Via is added behind the one that is there", viaRule, must, needPlain, func(t *trial) {
		s, _ := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nVia: 1.0 before\r\n{auth}\r\n", okReply)
		if via := strings.Join(s.values("Via"), ", "); !strings.HasPrefix(via, "1.0 before, ") {
			t.fail("the origin got Via: %q", via)
		}
	}},
	{"plain-via-reply", "Via is added to replies", viaRule, must, needPlain, func(t *trial) {
		if _, k := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", okReply); !k.last.Has("Via") {
			t.fail("the reply has none")
		}
	}},
	{"plain-connection", "fields that Connection names stay behind", hopByHopRule, must, needPlain, dropped("Connection: x-hop\r\nX-Hop: 1\r\n", "X-Hop")},
	{"plain-hop-by-hop", "hop-by-hop fields stay behind", hopByHopRule, should, needPlain, dropped("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n", "Keep-Alive", "Proxy-Connection")},
	{"plain-credentials", "Proxy-Authorization stays behind", "RFC 9110, section 11.7.2", policyLevel, needPlain, credentialsStay},
	{"plain-reply-connection", "fields that the reply's Connection names stay behind", hopByHopRule, must, needPlain, func(t *trial) {
		_, k := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", "HTTP/1.1 200 OK\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nhi")
		if k.last.Has("X-Hop") {
			t.fail("the client got X-Hop")
		}
	}},
	{"plain-keep-alive", "a client's connection serves several requests", "RFC 9112, section 9.3", should, needPlain, keptAlive},
	{"plain-keep-alive-alone", "the origin's closing does not end the client's connection", "RFC 9112, section 9.3", should, needPlain, ownPersistence},
	{"plain-origin-form-in", "a request meant for an origin server is refused", "RFC 9112, section 3.2.1", policyLevel, needNothing, func(t *trial) {
		k := t.talk()
		k.send("GET / HTTP/1.1\r\nHost: origin.invalid\r\n{auth}\r\n")
		if reply := k.wantReply(); reply.Code/100 != 4 && reply.Code/100 != 5 {
			t.warn(`"%s"`, line(reply))
		}
	}},
	{"plain-expect", "Expect: 100-continue gets its answer before the content", "RFC 9110, section 10.1.1", must, needPlain, expects},
	{"plain-content-length", "content of a known length passes", "RFC 9112, section 6", must, needPlain, func(t *trial) {
		if s, _ := t.exchange("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Content-Length: 5\r\n\r\nhello", okReply); !strings.Contains(s.body, "hello") {
			t.fail("the origin got %q", s.body)
		}
	}},
	{"plain-chunked", "chunked content passes", "RFC 9112, section 7.1", must, needPlain, func(t *trial) {
		t.wantProxy11("chunks")
		s, _ := t.exchange("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", okReply)
		if body := strings.NewReplacer("\r\n", "", "3", "", "2", "", "5", "", "0", "").Replace(s.body); body != "hello" {
			t.fail("the origin got %q", s.body)
		}
	}},
	{"plain-trailers", "trailers pass", "RFC 9110, section 6.5", policyLevel, needPlain, func(t *trial) {
		t.wantProxy11("chunks")
		s, _ := t.exchange("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n", okReply)
		if !strings.Contains(strings.ToLower(s.body), "x-sum: 7") {
			t.warn("the origin got none: %q", s.body)
		}
	}},
	{"plain-length-and-coding", "a length beside chunks does not reach the origin", framingRule, must, needPlain, func(t *trial) {
		t.wantProxy11("chunks")
		t.originGetsOne("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Content-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+hidden, func(s *originRequest) bool {
			return s.has("Content-Length") && s.has("Transfer-Encoding")
		})
	}},
	{"plain-lengths-differ", "two lengths that differ are refused", framingRule, must, needPlain, refusesPlain("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")},
	{"plain-bad-chunk", "a malformed chunk is not made whole", "RFC 9112, section 7.1", must, needPlain, badChunk},
	{"plain-space-colon", "a space before a field's colon is refused", fieldRule, must, needPlain, refusesPlain("X-A : b\r\n\r\n")},
	{"plain-nul", "a NUL does not reach the origin", "RFC 9110, section 5.5", must, needPlain, originLacks("X-A: a\x00b\r\n", "\x00")},
	{"plain-bare-cr", "a CR without its LF does not reach the origin", "RFC 9112, section 2.2", must, needPlain, originLacks("X-A: a\rb\r\n", "a\rb")},
	{"plain-fold", "a folded field line does not reach the origin", "RFC 9112, section 5.2", must, needPlain, originLacks("X-A: a\r\n b\r\n", "\n b")},
	{"plain-host-missing", "HTTP/1.1 without Host is refused", hostRule, must, needPlain, func(t *trial) {
		t.wantRefused("GET http://{target}/ HTTP/1.1\r\n{auth}\r\n")
	}},
	{"plain-target-too-long", "a target above the limit is answered with 414", "RFC 9112, section 3", must, needPlain, targetTooLong},
	{"plain-reply-chunked", "a chunked reply passes", "RFC 9112, section 7.1", must, needPlain, passesChunked("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")},
	{"plain-reply-close", "a reply that ends by closing passes whole", framingRule, must, needPlain, passesReply("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")},
	{"plain-reply-both", "a reply's length beside chunks does not reach the client", framingRule, must, needPlain, replyBoth},
	{"plain-head", "the answer to HEAD has no content", "RFC 9110, section 9.3.2", must, needPlain, headHasNone},
	{"plain-1xx", "1xx replies reach the client", "RFC 9110, section 15.2", must, needPlain, passes1xx},
	{"plain-method", "an unknown method passes", "RFC 9110, section 9.1", policyLevel, needPlain, func(t *trial) {
		s, k := t.exchange("SEARCHING http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", okReply)
		if !strings.HasPrefix(s.line(), "SEARCHING ") {
			t.warn(`"%s"`, line(k.last))
		}
	}},
	{"plain-max-forwards", "OPTIONS with Max-Forwards: 0 is answered by the proxy", "RFC 9110, section 7.6.2", must, needPlain, maxForwards},
	{"plain-upgrade", "a WebSocket's upgrade passes", "RFC 9110, section 7.8", policyLevel, needPlain, upgrades},
}

// okReply has the origin's connection closed, so that no proxy keeps one after the check
// has ended; keptReply leaves it open.
const (
	okReply   = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
	keptReply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
)

// answered is a talk and its last reply.
type answered struct {
	*talk
	last *wire.Reply
}

// exchange sends a request through the proxy, has the origin answer, and returns the
// request as the origin got it and the reply as the client did. A request that does
// not reach the origin fails the check.
func (t *trial) exchange(request, reply string) (*originRequest, answered) {
	got := make(chan *originRequest, 1)
	t.target.serve(originOf(func(s *originRequest) {
		select {
		case got <- s:
		default:
		}
	}, func(*originRequest) string { return reply }))
	k := t.talk()
	k.send(request)
	a := answered{k, k.wantReply()}
	select {
	case s := <-got:
		return s, a
	default:
		t.fail(`the origin got nothing; the answer was "%s"`, line(a.last))
		return nil, a
	}
}

// hosts returns the values that Host may have for the target: the default port of the
// scheme may be left out (RFC 9110, section 4.2.3).
func (t *trial) hosts() []string {
	if t.asked.Port() == 80 {
		return []string{t.asked.String(), bracketed(t.asked)}
	}
	return []string{t.asked.String()}
}

// dropped returns a try that sends a request with the fields, and fails if the origin
// gets one of the named ones.
func dropped(fields string, names ...string) func(*trial) {
	return func(t *trial) {
		s, _ := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}"+fields+"\r\n", okReply)
		for _, name := range names {
			if s.has(name) {
				t.fail(`the origin got %s: "%s"`, name, strings.Join(s.values(name), `", "`))
			}
		}
	}
}

// targetTooLong asks for a path of 1 MiB.
func targetTooLong(t *trial) {
	t.target.serve(originOf(nil, func(*originRequest) string { return okReply }))
	k := t.talk()
	rest := k.fill(" HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n") // a login may use the connection first
	k.pace()                                                    // a slow network is not a limit
	k.send("GET http://{target}/")
	for range largeHead / (16 << 10) {
		k.send(strings.Repeat("a", 16<<10))
	}
	k.send(rest)
	switch reply, err := k.reply(); {
	case err != nil:
		t.warn("a target of 1 MiB gets no answer that arrives: %s", reason(err))
	case reply.Code/100 == 2:
		t.skip("a target of 1 MiB passes: no limit is met")
	case reply.Code != 414:
		t.fail(`"%s"`, line(reply))
	}
}

func credentialsStay(t *trial) {
	fields := ""
	if t.login == nil {
		fields = "Proxy-Authorization: Basic YXVkaXQ6YXVkaXQ=\r\n"
	}
	if s, _ := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}"+fields+"\r\n", okReply); s.has("Proxy-Authorization") {
		t.fail("the origin got the credentials for the proxy")
	}
}

func keptAlive(t *trial) {
	t.target.serve(originOf(nil, func(*originRequest) string { return keptReply }))
	k := t.talk()
	for i := range 3 {
		k.send(fmt.Sprintf("GET http://{target}/%d HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", i))
		reply, err := k.reply()
		if err != nil {
			t.warn("no answer to request %d: %s", i+1, reason(err))
		}
		if _, err := k.content(reply); err != nil {
			t.fail("the content of answer %d: %s", i+1, reason(err))
		}
	}
}

// ownPersistence has the origin close its connection after each reply: the client's
// connection must stay open (RFC 9112, section 9.3).
func ownPersistence(t *trial) {
	if o := t.attempt(keptAlive); o.grade != probe.Pass {
		t.skip("the proxy serves one request to a connection, whatever the origin does")
	}
	t.target.serve(originOf(nil, func(*originRequest) string { return okReply }))
	k := t.talk()
	for i := range 2 {
		k.send("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
		reply, err := k.reply()
		if err != nil {
			t.warn("no answer to request %d: %s", i+1, reason(err))
		}
		if _, err := k.content(reply); err != nil {
			t.fail("the content of answer %d: %s", i+1, reason(err))
		}
	}
}

// expects sends the content only after the 100, which comes from the origin, or from
// the proxy itself.
func expects(t *trial) {
	t.wantProxy11("expectation")
	got := make(chan *originRequest, 1)
	t.target.serve(func(conn net.Conn) {
		head, rest, err := splitExpect(conn)
		if err != nil {
			return
		}
		s := &originRequest{raw: head, body: rest}
		offer(got, s)
		_, _ = conn.Write([]byte(okReply))
	})
	k := t.talk()
	k.send("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	reply, err := wire.ReadReply(k.br, 0)
	switch {
	case err != nil:
		t.fail("neither 100 nor a final answer came: %s", reason(err))
	case reply.Code == 417:
		t.pass("refused with 417")
	case reply.Code != 100:
		t.fail(`"%s"`, line(reply))
	}
	k.send("hello")
	if final := k.wantReply(); final.Code != 200 {
		t.fail(`"%s"`, line(final))
	}
	select {
	case s := <-got:
		if s.body != "hello" {
			t.fail("the origin got %q", s.body)
		}
	default: // the origin reports the request before it answers
		t.fail("the origin got no whole request")
	}
}

// splitExpect reads a request head, answers 100 if that is expected, and reads 5 bytes
// of content.
func splitExpect(conn net.Conn) (head, rest string, err error) {
	b := make([]byte, 0, 4096)
	for asked := false; ; {
		chunk := make([]byte, 1024)
		n, err := conn.Read(chunk)
		b = append(b, chunk[:n]...)
		head, rest, whole := strings.Cut(string(b), "\r\n\r\n")
		if whole && !asked && rest == "" && strings.Contains(strings.ToLower(head), "100-continue") {
			asked = true
			_, _ = conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
		}
		if whole && len(rest) >= 5 {
			return head, rest, nil
		}
		if err != nil {
			return "", "", err
		}
	}
}

// originGetsOne fails the check if the origin gets more than one request, or one that
// is bad. If nothing bad came through, no answer is a warning.
func (t *trial) originGetsOne(request string, bad func(*originRequest) bool) {
	got := make(chan *originRequest, 4)
	t.target.serve(originOf(func(s *originRequest) {
		select {
		case got <- s:
		default:
		}
	}, func(*originRequest) string { return okReply }))
	k := t.talk()
	k.send(request)
	reply, err := k.reply()
	for first := true; ; first = false {
		select {
		case s := <-got:
			if bad(s) {
				t.fail(`the origin got it as it was sent: "%s"`, wire.Escape([]byte(s.raw), 240))
			}
			if !first && reply != nil && reply.Code/100 != 2 {
				t.fail("the origin got a request that was refused")
			}
			continue
		default:
		}
		if err != nil {
			t.warn("nothing of it reached the origin, but it got no answer: %s", reason(err))
		}
		return
	}
}

// originLacks returns a try that passes if the proxy refuses a request with the field,
// or removes bad from it before the origin gets it.
func originLacks(field, bad string) func(*trial) {
	return func(t *trial) {
		t.originGetsOne("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}"+field+"\r\n", func(s *originRequest) bool {
			return strings.Contains(s.raw, bad)
		})
	}
}

// refusesPlain returns a try that wants a request with these fields and content
// answered by 400, and nothing to reach the origin.
func refusesPlain(rest string) func(*trial) {
	return func(t *trial) {
		t.wantRefused("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}" + rest)
	}
}

// wantRefused fails the check if the request reaches the origin and succeeds. Any
// answer but 400 is a warning.
func (t *trial) wantRefused(request string) {
	t.target.serve(originOf(nil, func(*originRequest) string { return okReply }))
	k := t.talk()
	k.send(request)
	reply, err := k.reply()
	switch {
	case t.target.reached() > 0 && err == nil && reply.Code/100 == 2:
		t.fail(`it was passed on: "%s"`, line(reply))
	case err != nil:
		t.warn("no answer: %s", reason(err))
	case reply.Code != 400:
		t.warn(`"%s"`, line(reply))
	}
}

// badChunk fails the check if the origin gets an end of the content that the client
// did not send.
func badChunk(t *trial) {
	t.wantProxy11("chunks")
	whole := make(chan bool, 1)
	t.target.serve(func(conn net.Conn) {
		b := make([]byte, 64<<10)
		text := ""
		for {
			n, err := conn.Read(b)
			if text += string(b[:n]); err != nil || strings.Contains(text, "\r\n0\r\n\r\n") {
				offer(whole, strings.Contains(text, "\r\n0\r\n\r\n"))
				return
			}
		}
	})
	k := t.talk()
	k.send("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\nhi\r\n0\r\n\r\n")
	reply, err := k.reply()
	if err == nil && reply.Code/100 == 2 {
		t.fail(`"%s"`, line(reply))
	}
	k.conn.Close()
	select {
	case w := <-whole:
		if w {
			t.fail("the origin got content that ends as if it were whole")
		}
	default:
	}
}

// passesReply returns a try that has the origin send the reply, and wants its content
// to arrive as "hello".
func passesReply(reply string) func(*trial) {
	return func(t *trial) {
		t.target.serve(originOf(nil, func(*originRequest) string { return reply }))
		k := t.talk()
		k.send("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
		got := k.wantReply()
		if content, err := k.content(got); string(content) != "hello" || err != nil {
			t.fail("the content came as %s", describeRead(content, err))
		}
	}
}

// passesChunked is passesReply for a reply that an origin may send only to a request
// of HTTP/1.1.
func passesChunked(reply string) func(*trial) {
	return func(t *trial) {
		t.wantHTTP11("a reply in chunks")
		passesReply(reply)(t)
	}
}

// wantHTTP11 skips the check if the proxy sends origins requests of HTTP/1.0. To these
// an origin must not answer with what HTTP/1.1 introduced (RFC 9112, section 6.1; RFC
// 9110, section 15.2).
func (t *trial) wantHTTP11(what string) {
	s, _ := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", okReply)
	if strings.HasSuffix(s.line(), " HTTP/1.0") {
		t.skip("the proxy asks origins in HTTP/1.0, to which %s is no answer", what)
	}
}

// wantProxy11 skips the check if the proxy speaks HTTP/1.0. A client must not send it
// what HTTP/1.1 introduced (RFC 9112, section 6.1).
func (t *trial) wantProxy11(what string) {
	if t.plainHTTP10 {
		t.skip("the proxy answers in HTTP/1.0, to which clients send no %s", what)
	}
}

func replyBoth(t *trial) {
	t.wantHTTP11("a reply in chunks")
	_, k := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
	if k.last.Has("Content-Length") && k.last.Has("Transfer-Encoding") {
		t.fail("the client got both")
	}
}

func headHasNone(t *trial) {
	t.target.serve(originOf(nil, func(s *originRequest) string {
		if strings.HasPrefix(s.line(), "HEAD") {
			return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
		}
		return okReply
	}))
	k := t.talk()
	k.send("HEAD http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	if reply := k.wantReply(); reply.Minor == 0 || strings.Contains(strings.ToLower(reply.Get("Connection")), "close") {
		if _, rest := k.readToEnd(2 * t.Quiet); len(rest) > 0 {
			t.fail(`behind the head came "%s"`, wire.Escape(rest, 60))
		}
		t.pass("nothing came behind it")
	}
	k.send("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	reply, err := k.reply()
	if err != nil && reason(err) == "the connection was closed" {
		t.pass("the connection was closed behind it")
	}
	if err != nil {
		t.fail("the next answer: %s", reason(err))
	}
	if content, err := k.content(reply); string(content) != "hi" || err != nil {
		t.fail("the next answer's content: %s", describeRead(content, err))
	}
}

func passes1xx(t *trial) {
	t.wantHTTP11("a 1xx reply")
	t.target.serve(originOf(nil, func(*originRequest) string {
		return "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + okReply
	}))
	k := t.talk()
	k.send("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	first, err := wire.ReadReply(k.br, 0)
	if err != nil {
		t.fail("no answer: %s", reason(err))
	}
	if first.Code != 103 {
		t.fail(`the origin sent 103 first; the client got "%s"`, line(first))
	}
}

func maxForwards(t *trial) {
	t.target.serve(originOf(nil, func(*originRequest) string { return okReply }))
	k := t.talk()
	k.send("OPTIONS http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Max-Forwards: 0\r\n\r\n")
	reply := k.wantReply()
	if t.target.reached() > 0 {
		t.fail(`the origin got it; the answer was "%s"`, line(reply))
	}
}

func upgrades(t *trial) {
	t.target.serve(func(conn net.Conn) {
		b := make([]byte, 4096)
		n, _ := conn.Read(b)
		if strings.Contains(strings.ToLower(string(b[:n])), "upgrade: websocket") {
			_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"))
			echo(conn)
			return
		}
		_, _ = conn.Write([]byte(okReply))
	})
	k := t.talk()
	k.send("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YXVkaXRhdWRpdGF1ZGl0YQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	reply, err := wire.ReadReply(k.br, 0)
	if err != nil || reply.Code != 101 {
		t.warn("it does not: WebSockets over http:// need CONNECT")
	}
	k.send("frames")
	k.read("frames")
}
