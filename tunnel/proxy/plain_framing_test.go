package proxy

import (
	"strings"
	"testing"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
)

// RFC 9112, sections 5, 6 and 11.2: a message that two readers could
// understand differently is refused.
func TestPlainSmugglingByHead(t *testing.T) {
	const smuggled = "GET http://ORIGIN/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	p := newPlainTest(t)
	for name, tt := range map[string]struct {
		version, fields, body string
		status                int
	}{
		"CL.TE":                      {"1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400},
		"TE.CL":                      {"1.1", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "8\r\n12345678\r\n0\r\n\r\n", 400},
		"CL 0 and TE":                {"1.1", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400},
		"differing CLs":              {"1.1", "Content-Length: 0\r\nContent-Length: 5\r\n", "12345", 400},
		"differing CLs in a list":    {"1.1", "Content-Length: 5, 0\r\n", "12345", 400},
		"CL with plus":               {"1.1", "Content-Length: +5\r\n", "12345", 400},
		"CL in hex":                  {"1.1", "Content-Length: 0x5\r\n", "12345", 400},
		"CL negative":                {"1.1", "Content-Length: -5\r\n", "12345", 400},
		"CL empty":                   {"1.1", "Content-Length:\r\n", "", 400},
		"CL too large":               {"1.1", "Content-Length: 18446744073709551621\r\n", "12345", 400},
		"gzip":                       {"1.1", "Transfer-Encoding: gzip\r\n", "", 400},
		"gzip, chunked":              {"1.1", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", 501},
		"chunked, identity":          {"1.1", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", 400},
		"identity":                   {"1.1", "Transfer-Encoding: identity\r\nContent-Length: 0\r\n", "", 400},
		"chunked twice":              {"1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400},
		"xchunked":                   {"1.1", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", 400},
		"empty TE":                   {"1.1", "Transfer-Encoding:\r\n", "", 400},
		"vertical tab before":        {"1.1", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n", 400},
		"TE in HTTP/1.0":             {"1.0", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", 400},
		"obs-fold":                   {"1.1", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n", 400},
		"folded other field":         {"1.1", "X-A: b\r\n Content-Length: 5\r\n", "", 400},
		"space before colon":         {"1.1", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n", 400},
		"tab before colon":           {"1.1", "Content-Length\t: 5\r\n", "12345", 400},
		"space before the name":      {"1.1", " Content-Length: 5\r\n", "12345", 400},
		"bare CR":                    {"1.1", "X-A: b\rContent-Length: 5\r\n", "12345", 400},
		"bare LF in a CRLF head":     {"1.1", "X-A: b\nContent-Length: 5\r\n", "12345", 400},
		"NUL":                        {"1.1", "X-A: b\x00\r\n", "", 400},
		"no colon":                   {"1.1", "Content-Length 5\r\n", "12345", 400},
		"empty name":                 {"1.1", ": 5\r\n", "", 400},
		"underscore is another name": {"1.1", "Transfer_Encoding: chunked\r\nContent-Length: 0, 1\r\n", "", 400},
	} {
		t.Run(name, func(t *testing.T) {
			p.TB, p.ts.TB, p.origin.TB = t, t, t
			p.refused("POST http://ORIGIN/ HTTP/"+tt.version+"\r\nHost: x\r\n"+tt.fields+"\r\n"+tt.body+smuggled, tt.status, "http_request_error")
		})
	}
	p.TB, p.ts.TB, p.origin.TB = t, t, t
	p.origin.untouched()
}

// RFC 9110, section 8.6.
func TestPlainIdenticalContentLengthsMerge(t *testing.T) {
	for _, fields := range []string{"Content-Length: 4\r\ncontent-length: 4\r\n", "Content-Length: 4, 4\r\n", "Content-Length: 04\r\n"} {
		p := newPlainTest(t)
		client, origin, head := p.exchange("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n" + fields + "\r\nbody")
		if want := p.fill("POST / HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 p\r\nContent-Length: 4\r\n\r\n"); head != want {
			t.Errorf("the origin got %q, want %q", head, want)
		}
		origin.expect("body")
		origin.send(okHello)
		client.expect(helloHere)
		p.logged(200, 4, 5)
	}
}

// Malformed chunks are a 400, and the origin's connection is not used again.
func TestPlainBadChunks(t *testing.T) {
	for name, body := range map[string]string{
		"no number":            "x\r\n",
		"empty line":           "\r\n",
		"negative":             "-1\r\n",
		"plus":                 "+1\r\na\r\n0\r\n\r\n",
		"0x":                   "0x1\r\na\r\n0\r\n\r\n",
		"leading space":        " 1\r\na\r\n0\r\n\r\n",
		"underscore":           "1_0\r\n",
		"size overflows":       "10000000000000001\r\na\r\n0\r\n\r\n",
		"size line ends in LF": "1\na\r\n0\r\n\r\n",
		"bare CR in extension": "1;a\rb\r\na\r\n0\r\n\r\n",
		"data too long":        "1\r\nab\r\n0\r\n\r\n",
		"data ends in LF":      "1\r\na\n0\r\n\r\n",
		"bad trailer":          "1\r\na\r\n0\r\nX-A : b\r\n\r\n",
		"folded trailer first": "1\r\na\r\n0\r\n X-A: b\r\n\r\n",
		"endless extensions":   strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 50),
		"endless size line":    "1;" + strings.Repeat("x", 20_000),
		"endless trailer":      "0\r\nX: " + strings.Repeat("x", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlainTest(t)
			client, origin, _ := p.exchange("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
				body + "GET http://ORIGIN/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
			p.ts.CheckRefusal(proxytest.ReadAnswer(t, client), 400, "http_request_error")
			got := &strings.Builder{}
			origin.br.WriteTo(got)
			if strings.HasSuffix(got.String(), "0\r\n\r\n") || strings.Contains(got.String(), "smuggled") {
				t.Errorf("the origin got a whole request: %q", got)
			}
		})
	}
}

// Chunk extensions and unusual spellings of sizes are not passed on: the framing is the
// proxy's own.
func TestPlainChunksAreFramedAnew(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n" +
		"0004;ext=\"a;b\"\r\nbody\r\n00a;x\r\n0123456789\r\n000\r\n\r\n")
	if want := p.fill("POST / HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 p\r\nTransfer-Encoding: chunked\r\n\r\n"); head != want {
		t.Errorf("the origin got %q, want %q", head, want)
	}
	var sizes, content strings.Builder
	for line := ""; line != "0\r\n"; {
		line = origin.line()
		if sizes.WriteString(line); line != "0\r\n" {
			content.WriteString(strings.TrimSuffix(origin.line(), "\r\n"))
		}
	}
	origin.expect("\r\n")
	if content.String() != "body0123456789" || strings.ContainsAny(sizes.String(), ";x ") {
		t.Errorf("the origin got %q in chunks %q", content.String(), sizes.String())
	}
	origin.send(okHello)
	client.expect(helloHere)
	p.logged(200, 14, 5)
}

// A chunked request is sent at once, and chunked, even with a method that seldom has
// content, and even if it is empty.
func TestPlainChunkedGET(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	if fieldLine(head, "Transfer-Encoding") != "chunked" {
		t.Errorf("the origin got %q", head)
	}
	client.send("0\r\n\r\n")
	origin.expect("0\r\n\r\n")
	origin.send(okHello)
	client.expect(helloHere)
}

func TestPlainReplyFraming(t *testing.T) {
	const closing = "Connection: close\r\n\r\n"
	for _, tt := range []struct{ name, method, version, reply, want string }{
		{"length", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 2\r\n" + closing + "ok"},
		{"identical lengths", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 2\r\n" + closing + "ok"},
		{"chunked", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nTransfer-Encoding: chunked\r\n" + closing + "2\r\nok\r\n0\r\n\r\n"},
		{"chunked to 1.0", "GET", "1.0", "HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\n" + closing + "ok"},
		{"until close", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "\r\nok", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nTransfer-Encoding: chunked\r\n" + closing + "2\r\nok\r\n0\r\n\r\n"},
		{"until close to 1.0", "GET", "1.0", "HTTP/1.0 200 OK\r\n" + date + "\r\nok", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.0 p\r\n" + closing + "ok"},
		{"empty until close", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "\r\n", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nTransfer-Encoding: chunked\r\n" + closing + "0\r\n\r\n"},
		{"HEAD with length", "HEAD", "1.1", "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 99\r\n\r\n", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 99\r\n" + closing},
		{"HEAD chunked", "HEAD", "1.1", "HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\n" + closing},
		{"HEAD without", "HEAD", "1.1", "HTTP/1.1 200 OK\r\n" + date + "\r\n", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\n" + closing},
		{"304 with length", "GET", "1.1", "HTTP/1.1 304 Not Modified\r\n" + date + "Content-Length: 99\r\nETag: x\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n" + date + "ETag: x\r\nVia: 1.1 p\r\nContent-Length: 99\r\n" + closing},
		{"204", "GET", "1.1", "HTTP/1.1 204 No Content\r\n" + date + "\r\n", "HTTP/1.1 204 No Content\r\n" + date + "Via: 1.1 p\r\n" + closing},
		{"204 with length", "GET", "1.1", "HTTP/1.1 204 No Content\r\n" + date + "Content-Length: 2\r\n\r\n", "HTTP/1.1 204 No Content\r\n" + date + "Via: 1.1 p\r\n" + closing},
		{"unknown status", "GET", "1.1", "HTTP/1.1 299 Whatever\r\n" + date + "Content-Length: 0\r\n\r\n", "HTTP/1.1 299 Whatever\r\n" + date + "Via: 1.1 p\r\nContent-Length: 0\r\n" + closing},
		{"own reason", "GET", "1.1", "HTTP/1.1 404 N\xc3\xa4h,\tno\r\n" + date + "Content-Length: 0\r\n\r\n", "HTTP/1.1 404 N\xc3\xa4h,\tno\r\n" + date + "Via: 1.1 p\r\nContent-Length: 0\r\n" + closing},
		{"empty reason", "GET", "1.1", "HTTP/1.1 404 \r\n" + date + "Content-Length: 0\r\n\r\n", "HTTP/1.1 404 \r\n" + date + "Via: 1.1 p\r\nContent-Length: 0\r\n" + closing},
		{"no reason", "GET", "1.1", "HTTP/1.1 404\r\n" + date + "Content-Length: 0\r\n\r\n", "HTTP/1.1 404 \r\n" + date + "Via: 1.1 p\r\nContent-Length: 0\r\n" + closing},
		{"control in the reason", "GET", "1.1", "HTTP/1.1 404 a\x1b[1mb\rc\r\n" + date + "Content-Length: 0\r\n\r\n", "HTTP/1.1 404 Not Found\r\n" + date + "Via: 1.1 p\r\nContent-Length: 0\r\n" + closing},
		{"no colon", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "what is this\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 2\r\n" + closing + "ok"},
		{"space before colon", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "Secured : yes\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n" + date + "Secured: yes\r\nVia: 1.1 p\r\nContent-Length: 2\r\n" + closing + "ok"},
		{"space in a name", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "Secured by X : yes\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 2\r\n" + closing + "ok"},
		{"folded", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "X-A: b\r\n  c\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n" + date + "X-A: b c\r\nVia: 1.1 p\r\nContent-Length: 2\r\n" + closing + "ok"},
		{"spelling and order", "GET", "1.1", "HTTP/1.1 200 OK\r\n" + date + "x-lower-UPPER: 1\r\nContent-length: 2\r\nP3P: a\r\nWWW-Authenticate: b\r\n\r\nok", "HTTP/1.1 200 OK\r\n" + date + "x-lower-UPPER: 1\r\nP3P: a\r\nWWW-Authenticate: b\r\nVia: 1.1 p\r\nContent-Length: 2\r\n" + closing + "ok"},
		{"bare LF", "GET", "1.1", "HTTP/1.1 200 OK\n" + strings.TrimSuffix(date, "\r\n") + "\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 2\r\n" + closing + "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlainTest(t)
			got := p.answeredTo(tt.method+" http://ORIGIN/ HTTP/"+tt.version+"\r\nHost: x\r\nConnection: close\r\n\r\n", tt.reply)
			if got != tt.want {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
			down := 0
			if strings.Contains(tt.want, "ok") {
				down = 2
			}
			rec := p.ts.NextRecord(accesslog.EventRequest)
			rec.WantNumber(t, "down", down)
			rec.WantAbsent(t, "error")
		})
	}
}

// Bytes that follow a reply without content on a kept connection are not taken for its
// content.
func TestPlainReplyWithoutContentKeepsTheConnection(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange("HEAD http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n\r\n")
	origin.send("HTTP/1.1 200 OK\r\n" + date + "Content-Length: 5\r\n\r\n")
	client.expect("HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 5\r\n\r\n")
	client.send(p.fill("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n\r\n"))
	origin.head()
	origin.send("HTTP/1.1 204 No Content\r\n" + date + "\r\n")
	client.expect("HTTP/1.1 204 No Content\r\n" + date + "Via: 1.1 p\r\n\r\n")
	client.send(p.fill(simpleGet))
	origin.head()
	origin.send(okHello)
	client.expect(helloHere)
}

// An answer that is not HTTP, or that ends within its head, is a 502.
func TestPlainBadReplies(t *testing.T) {
	for name, tt := range map[string]struct{ reply, token string }{
		"nothing":             {"", "connection_terminated"},
		"half a head":         {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "connection_terminated"},
		"garbage":             {"SSH-2.0-OpenSSH\r\n\r\n", "http_protocol_error"},
		"bytes":               {"\x15\x03\x01\x00\x02\x02\x0a\r\n\r\n", "http_protocol_error"},
		"status 000":          {"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"},
		"status 099":          {"HTTP/1.1 099 None\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"},
		"status 20":           {"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"},
		"unasked 101":         {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "http_protocol_error"},
		"HTTP/2.0":            {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"},
		"differing lengths":   {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "http_protocol_error"},
		"bad length":          {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "http_protocol_error"},
		"space before colon":  {"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na", "http_protocol_error"},
		"gzip coding":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "http_response_transfer_coding"},
		"framing, no colon":   {"HTTP/1.1 200 OK\r\nContent-Length 1\r\n\r\na", "http_protocol_error"},
		"chunked and length":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n", "http_protocol_error"},
		"head without end":    {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10) + "\r\n\r\n", "http_response_header_section_size"},
		"garbage after a 103": {"HTTP/1.1 103 Early Hints\r\n\r\nSSH-2.0\r\n\r\n", "http_protocol_error"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlainTest(t)
			client, origin, _ := p.exchange(strings.Replace(simpleGet, "1.1", "1.0", 1))
			origin.Write([]byte(tt.reply))                 // may fail, if the proxy has closed
			_ = origin.Conn.(sock.HalfCloser).CloseWrite() // may fail as well
			p.ts.CheckRefusal(proxytest.ReadAnswer(t, client.Conn), 502, tt.token)
		})
	}
}

// A reply that breaks off must not pass for a complete one, in any framing.
func TestPlainBrokenReplies(t *testing.T) {
	for name, tt := range map[string]struct {
		version, reply string
		reset          bool
	}{
		"length":                  {"1.1", "Content-Length: 9\r\n\r\nhell", false},
		"chunk":                   {"1.1", "Transfer-Encoding: chunked\r\n\r\n9\r\nhell", false},
		"between chunks":          {"1.1", "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n", false},
		"last chunk":              {"1.1", "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n", false},
		"bad chunk":               {"1.1", "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\nx\r\n\r\n", false},
		"until close, reset":      {"1.1", "\r\nhell", true},
		"length to 1.0":           {"1.0", "Content-Length: 9\r\n\r\nhell", false},
		"chunk to 1.0":            {"1.0", "Transfer-Encoding: chunked\r\n\r\n9\r\nhell", false},
		"between chunks to 1.0":   {"1.0", "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n", false},
		"until close, reset, 1.0": {"1.0", "\r\nhell", true},
		"bad chunk to 1.0":        {"1.0", "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\nx\r\n\r\n", false},
		"nothing of it":           {"1.1", "Content-Length: 9\r\n\r\n", false},
		"nothing of it, 1.0":      {"1.0", "Transfer-Encoding: chunked\r\n\r\n", false},
		"chunk size overflow":     {"1.1", "Transfer-Encoding: chunked\r\n\r\n10000000000000004\r\nhell\r\n0\r\n\r\n", false},
		"trailer breaks off, 1.0": {"1.0", "Transfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\nX-A: ", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlainTest(t)
			client, origin, _ := p.exchange("GET http://ORIGIN/ HTTP/" + tt.version + "\r\nHost: x\r\n\r\n")
			origin.send("HTTP/1.1 200 OK\r\n" + tt.reply)
			if tt.reset {
				testkit.Eventually(t, "the content is here", func() bool { b, _ := client.br.Peek(1); return len(b) > 0 })
				testkit.Reset(origin.Conn)
			} else {
				origin.Close()
			}
			client.cutShort()
			rec := p.ts.NextRecord(accesslog.EventRequest)
			rec.WantNumber(t, "status", 200)
			rec.Want(t, "error", "http_response_incomplete")
		})
	}
}
