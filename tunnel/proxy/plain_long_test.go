package proxy

import (
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"

	"culvert/tunnel/accesslog"
)

// longContent returns n bytes of which no part repeats soon.
func longContent(n int) string {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return string(b)
}

// Long content arrives whole and in order in both directions, whatever its framing and
// however its pieces come, and both connections can be used again.
func TestPlainLongContentBothWays(t *testing.T) {
	const size = 3<<20 + 7
	content := longContent(size)
	for _, framing := range []string{"length", "chunked"} {
		t.Run(framing, func(t *testing.T) {
			frame := func(content string) (field string, framed string) {
				if framing == "length" {
					return fmt.Sprintf("Content-Length: %d", size), content
				}
				var b strings.Builder
				for len(content) > 0 {
					n := min(len(content), 300_001)
					fmt.Fprintf(&b, "%x\r\n%s\r\n", n, content[:n])
					content = content[n:]
				}
				return "Transfer-Encoding: chunked", b.String() + "0\r\n\r\n"
			}
			field, framed := frame(content)
			p := newPlainTest(t)
			client, origin, head := p.exchange("PUT http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n" + field + "\r\n\r\n" + framed[:100])
			if !strings.Contains(head, field) {
				t.Errorf("the origin got %q", head)
			}
			go io.WriteString(client.Conn, framed[100:])
			if got := origin.content(framing, size); got != content {
				t.Error("the origin got other content")
			}
			go io.WriteString(origin.Conn, "HTTP/1.1 200 OK\r\n"+date+field+"\r\n\r\n"+framed)
			client.expect("HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\n" + field + "\r\n\r\n")
			if got := client.content(framing, size); got != content {
				t.Error("the client got other content")
			}
			p.logged(200, size, size)
			client.send(p.fill(simpleGet))
			origin.head()
			origin.send(okHello)
			client.expect(helloHere)
		})
	}
}

// content reads content of n bytes.
func (p *peer) content(framing string, n int) string {
	p.Helper()
	var b strings.Builder
	for framing == "chunked" {
		var size int
		if _, err := fmt.Sscanf(p.line(), "%x\r\n", &size); err != nil {
			p.Fatal(err)
		}
		part := make([]byte, size+2)
		if _, err := io.ReadFull(p.br, part); err != nil {
			p.Fatal(err)
		}
		if b.Write(part[:size]); size == 0 {
			return b.String()
		}
	}
	part := make([]byte, n)
	if _, err := io.ReadFull(p.br, part); err != nil {
		p.Fatal(err)
	}
	return string(part)
}

// Long content that breaks off is no whole reply, and what was sent of it is counted.
func TestPlainLongReplyBreaksOff(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	origin.send("HTTP/1.1 200 OK\r\n" + date + "Content-Length: 9000000\r\n\r\n" + strings.Repeat("x", 1<<20))
	client.head()
	client.content("length", 1<<20)
	origin.Close()
	if got := client.rest(); got != "" {
		t.Errorf("then came %.20q", got)
	}
	p.logged(200, 0, 1<<20).Want(t, "error", "http_response_incomplete")
}

// A client that leaves within long content ends the exchange at once.
func TestPlainClientLeavesWithinLongContent(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	origin.send("HTTP/1.1 200 OK\r\n" + date + "Content-Length: 90000000\r\n\r\n" + strings.Repeat("x", 1<<17))
	client.head()
	client.content("length", 1<<17)
	client.Close()
	_, _ = io.Copy(origin.Conn, io.LimitReader(endless{}, 80<<20)) // fails when the proxy closes
	origin.ended()
	rec := p.ts.NextRecord(accesslog.EventRequest)
	rec.Want(t, "closed_by", "client")
}

// An upload that breaks off is not a whole request, and the origin's connection ends.
func TestPlainLongUploadBreaksOff(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange("PUT http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + strings.Repeat("x", 1<<19))
	origin.content("length", 1<<19)
	client.Close()
	if got := origin.rest(); got != "" {
		t.Errorf("then came %.20q", got)
	}
	p.ts.NextRecord(accesslog.EventRequest).WantNumber(t, "up", 1<<19)
}

// endless reads as an endless row of bytes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
