package proxy

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
)

// awaitWatch waits until a client is watched, which begins after a while.
func awaitWatch(tb testing.TB) {
	tb.Helper()
	stacks := make([]byte, 1<<20)
	testkit.Eventually(tb, "the client is watched", func() bool {
		return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "forward.(*clientWatch).awaitClient(")
	})
}

// If an origin answers before it has read the request, the client gets the whole answer
// with Connection: close. Neither connection is used again, and bytes that still come
// are not taken for a request.
func TestPlainAnswerBeforeTheContent(t *testing.T) {
	for name, request := range map[string]string{
		"length":  "POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbod",
		"chunked": chunkedPost + "\r\n3\r\nbod\r\n",
	} {
		for kind, reply := range map[string]string{"content": "Content-Length: 2\r\n\r\nno", "none": "Content-Length: 0\r\n\r\n"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				p := newPlainTest(t)
				client, origin, _ := p.exchange(request)
				origin.send("HTTP/1.1 413 Request Entity Too Large\r\n" + date + reply)
				head := client.head()
				if fieldLine(head, "Connection") != "close" {
					t.Errorf("the client got %q", head)
				}
				testkit.Send(t, client.Conn, p.fill(simpleGet)) // content, or ignored
				if got := client.rest(); !strings.HasSuffix(reply, "\r\n\r\n"+got) {
					t.Errorf("the client got %q", got)
				}
				client.Close()
				p.ts.NextRecord(accesslog.EventRequest).WantNumber(t, "status", 413)
				origin.ended()
				second := p.begin(simpleGet)
				again := p.origin.accept()
				again.head()
				again.send(okHello)
				second.expect(helloHere)
			})
		}
	}
}

// If an origin closes without having read the request, a client that sends no more is
// answered, although its content is awaited.
func TestPlainOriginClosesWhileContentIsAwaited(t *testing.T) {
	for name, end := range map[string]func(*peer){"close": func(o *peer) { o.Close() }, "reset": func(o *peer) { testkit.Reset(o.Conn) }} {
		t.Run(name, func(t *testing.T) {
			p := newPlainTest(t)
			client, origin, _ := p.exchange("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbod")
			origin.expect("bod")
			end(origin)
			p.ts.CheckRefusal(proxytest.ReadAnswer(t, client), 502, "connection_terminated").WantNumber(t, "up", 3)
		})
	}
}

// If a client leaves in the middle of its content, the origin does not get a complete
// request.
func TestPlainClientLeavesWithinTheContent(t *testing.T) {
	for name, request := range map[string]string{
		"length":  "POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbod",
		"chunked": chunkedPost + "\r\n3\r\nbod\r\n",
	} {
		for kind, end := range map[string]func(*peer){"close": func(c *peer) { c.Close() }, "reset": func(c *peer) { testkit.Reset(c.Conn) }, "half-close": func(c *peer) { testkit.HalfClose(c, c.Conn) }} {
			t.Run(name+" "+kind, func(t *testing.T) {
				p := newPlainTest(t)
				client, origin, _ := p.exchange(request)
				origin.expect(map[string]string{"length": "bod", "chunked": "3\r\nbod\r\n"}[name])
				end(client)
				got, _ := io.ReadAll(origin.br)
				if len(got) > 0 {
					t.Errorf("the origin then got %q", got)
				}
				rec := p.ts.NextRecord(accesslog.EventRequest)
				rec.Want(t, "closed_by", "client")
				rec.Want(t, "error", "connection_terminated")
				rec.WantNumber(t, "up", 3)
			})
		}
	}
}

// A request is given up if its client resets while the origin hangs.
func TestPlainClientVanishesWhileTheOriginHangs(t *testing.T) {
	for name, reply := range map[string]string{
		"before the answer": "", "within its head": "HTTP/1.1 200 OK\r\n", "within its content": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell",
	} {
		for kind, fields := range map[string]string{"plain": "", "upgrade": "Connection: upgrade\r\nUpgrade: x\r\n"} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				p := newPlainTest(t)
				client, origin, _ := p.exchange("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n")
				if origin.send(reply); strings.HasSuffix(reply, "hell") {
					client.head()
					client.expect("hell")
				}
				testkit.Reset(client.Conn)
				origin.ended()
				rec := p.ts.NextRecord(accesslog.EventRequest)
				rec.Want(t, "closed_by", "client")
				rec.Want(t, "error", "connection_terminated")
			})
		}
	}
}

// A client that ends its side and reads nothing for the linger time has left.
func TestPlainClientThatHasEndedIsGoneAfterLinger(t *testing.T) {
	p := plainTestWith(t, &Server{Linger: 50 * time.Millisecond})
	client, origin, _ := p.exchange(simpleGet)
	client.Close()
	origin.ended()
	p.ts.NextRecord(accesslog.EventRequest).Want(t, "closed_by", "client")
}

func TestPlainHalfClosedClientGetsItsAnswer(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	awaitWatch(t)
	testkit.HalfClose(t, client.Conn)
	origin.send(okHello)
	if got := client.rest(); got != helloHere {
		t.Errorf("got %q", got)
	}
	p.logged(200, 0, 5).WantAbsent(t, "error")
}

// An answer to a client that has ended its side may take longer than the linger time, as
// long as it makes progress.
func TestPlainHalfClosedClientMayTakeItsTime(t *testing.T) {
	t.Parallel()
	p := plainTestWith(t, &Server{Linger: 2 * time.Second})
	client, origin, _ := p.exchange(simpleGet)
	testkit.HalfClose(t, client.Conn)
	const pieces = 30
	origin.send(fmt.Sprintf("HTTP/1.1 200 OK\r\n"+date+"Content-Length: %d\r\n\r\n", pieces))
	client.head()
	for range pieces { // in total longer than watchAfter and Linger
		time.Sleep(100 * time.Millisecond)
		origin.send("x")
		client.expect("x")
	}
	p.logged(200, 0, pieces).WantAbsent(t, "error")
}

// The watch over a client that waits for long takes nothing of what the client sends,
// and leaves no deadline behind.
func TestPlainNextRequestArrivesWhileTheAnswerIsAwaited(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	awaitWatch(t)
	client.send(p.fill("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody") + proxytest.ConnectHead(p.origin.addr) + "early")
	origin.send(okHello)
	client.expect(helloHere)
	origin.head()
	origin.expect("body")
	origin.send(okHello)
	client.expect(helloHere)
	target := p.origin.accept()
	target.expect("early")
	client.expect(established)
}
