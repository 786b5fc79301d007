package audit

import (
	"net"
	"strings"

	"culvert/tunnel/internal/wire"
)

// The longer tries of the checks in checks_plain.go.

// expects has the origin ask for the content, and sends it only then, or after a
// proxy that asks itself.
func expects(t *trial) {
	t.wantProxy11("expectation")
	got := make(chan *seen, 1)
	t.target.serve(func(conn net.Conn) {
		head, rest, err := splitExpect(conn)
		if err != nil {
			return
		}
		s := &seen{raw: head, body: rest}
		offer(got, s)
		_, _ = conn.Write([]byte(okReply))
	})
	k := t.talk()
	k.send("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	reply, err := wire.ReadReply(k.br, 0)
	switch {
	case err != nil:
		t.fail("neither 100 nor a final answer came: %s", because(err))
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
	default: // it is told before the origin answers
		t.fail("the origin got no whole request")
	}
}

// splitExpect reads a head, answers 100 if that is expected, and reads 5 bytes.
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

// originGetsOne wants the origin to get one request at most, and that not bad.
// No answer is a warning, if nothing bad came through.
func (t *trial) originGetsOne(request string, bad func(*seen) bool) {
	got := make(chan *seen, 4)
	t.target.serve(originOf(func(s *seen) {
		select {
		case got <- s:
		default:
		}
	}, func(*seen) string { return okReply }))
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
			t.warn("nothing of it reached the origin, but it got no answer: %s", because(err))
		}
		return
	}
}

// originLacks wants a request refused, or repaired on the way.
func originLacks(field, bad string) func(*trial) {
	return func(t *trial) {
		t.originGetsOne("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}"+field+"\r\n", func(s *seen) bool {
			return strings.Contains(s.raw, bad)
		})
	}
}

// refusesPlain wants a request with these fields answered by 400, and nothing at
// the origin.
func refusesPlain(rest string) func(*trial) {
	return func(t *trial) {
		t.wantRefused("POST http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}" + rest)
	}
}

func (t *trial) wantRefused(request string) {
	t.target.serve(originOf(nil, func(*seen) string { return okReply }))
	k := t.talk()
	k.send(request)
	reply, err := k.reply()
	switch {
	case t.target.reached() > 0 && err == nil && reply.Code/100 == 2:
		t.fail(`it was passed on: "%s"`, line(reply))
	case err != nil:
		t.warn("no answer: %s", because(err))
	case reply.Code != 400:
		t.warn(`"%s"`, line(reply))
	}
}

// badChunk looks whether the origin is given an end that the client never sent.
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

// passesReply wants "hello", and no more.
func passesReply(reply string) func(*trial) {
	return func(t *trial) {
		t.target.serve(originOf(nil, func(*seen) string { return reply }))
		k := t.talk()
		k.send("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
		got := k.wantReply()
		if content, err := k.content(got); string(content) != "hello" || err != nil {
			t.fail("the content came as %s", came(content, err))
		}
	}
}

// passesChunked is passesReply for what an origin says to HTTP/1.1 only.
func passesChunked(reply string) func(*trial) {
	return func(t *trial) {
		t.wantHTTP11("a reply in chunks")
		passesReply(reply)(t)
	}
}

// wantHTTP11 skips the check where the proxy asks origins in HTTP/1.0: they must
// not answer that with what came with HTTP/1.1 (RFC 9112, section 6.1, and RFC
// 9110, section 15.2).
func (t *trial) wantHTTP11(what string) {
	s, _ := t.exchange("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", okReply)
	if strings.HasSuffix(s.line(), " HTTP/1.0") {
		t.skip("the proxy asks origins in HTTP/1.0, to which %s is no answer", what)
	}
}

// wantProxy11 skips the check where the proxy is one of HTTP/1.0: a client must
// not send it what came with HTTP/1.1 (RFC 9112, section 6.1).
func (t *trial) wantProxy11(what string) {
	if t.http10 {
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
	t.target.serve(originOf(nil, func(s *seen) string {
		if strings.HasPrefix(s.line(), "HEAD") {
			return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
		}
		return okReply
	}))
	k := t.talk()
	k.send("HEAD http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	if reply := k.wantReply(); reply.Minor == 0 || strings.Contains(strings.ToLower(reply.Get("Connection")), "close") {
		if _, rest := k.ended(2 * t.Quiet); len(rest) > 0 {
			t.fail(`behind the head came "%s"`, wire.Escape(rest, 60))
		}
		t.pass("nothing came behind it")
	}
	k.send("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	reply, err := k.reply()
	if err != nil && because(err) == "the connection was closed" {
		t.pass("the connection was closed behind it")
	}
	if err != nil {
		t.fail("the next answer: %s", because(err))
	}
	if content, err := k.content(reply); string(content) != "hi" || err != nil {
		t.fail("the next answer's content: %s", came(content, err))
	}
}

func passes1xx(t *trial) {
	t.wantHTTP11("a 1xx reply")
	t.target.serve(originOf(nil, func(*seen) string {
		return "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + okReply
	}))
	k := t.talk()
	k.send("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	first, err := wire.ReadReply(k.br, 0)
	if err != nil {
		t.fail("no answer: %s", because(err))
	}
	if first.Code != 103 {
		t.fail(`the origin sent 103 first; the client got "%s"`, line(first))
	}
}

func maxForwards(t *trial) {
	t.target.serve(originOf(nil, func(*seen) string { return okReply }))
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
