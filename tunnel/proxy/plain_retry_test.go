package proxy

import (
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
)

// If an origin answers before it has read the content and then resets, the answer is
// passed on, although the transport can write no more.
func TestPlainAnswerBeforeAReset(t *testing.T) {
	for name, content := range map[string]string{"content": "no, too large", "none": ""} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				p := newPlainTest(t)
				client, origin, _ := p.exchange("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
				sent := make(chan struct{})
				go func() { // until the proxy closes the connection
					defer close(sent)
					io.Copy(client.Conn, strings.NewReader(strings.Repeat("x", 8<<20)))
				}()
				io.CopyN(io.Discard, origin.br, 64<<10)
				reply := strings.Replace(okEmpty, "200 OK", "413 Too Large", 1)
				origin.send(strings.Replace(reply, "Length: 0\r\n\r\n", "Length: "+strconv.Itoa(len(content))+"\r\n\r\n"+content, 1))
				testkit.Reset(origin.Conn)
				got, body := client.reply("POST")
				if got.StatusCode != 413 || body != content {
					t.Fatalf("the client got %s %q", got.Status, body)
				}
				client.Close()
				<-sent
				rec := p.ts.NextRecord(accesslog.EventRequest)
				rec.WantNumber(t, "status", 413)
			}
		})
	}
}

// unawareConn does not report the end of the other side to its reader, as if the end had
// arrived but not been read yet.
type unawareConn struct {
	*net.TCPConn
	once   sync.Once
	closed chan struct{}
}

func (c *unawareConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if err != nil {
		<-c.closed
	}
	return n, err
}

func (c *unawareConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.TCPConn.Close()
}

// dialOriginsWith makes the server connect with dial to the origins of plain requests.
func (ts *testServer) dialOriginsWith(dial func(tunnel.Authority) (net.Conn, error)) {
	ts.server.run.mu.Lock() // every new connection takes it
	defer ts.server.run.mu.Unlock()
	for ln := range ts.server.run.listeners {
		ln.forward = ts.server.newForwarder(dialingHost{host{ln}, dial})
		ts.Cleanup(ln.forward.CloseIdleConnections)
	}
}

// A request that must not be repeated is not sent on a kept connection that has ended
// (RFC 9110, section 9.2.2), and its content stays complete.
func TestPlainPostPassesOverAnEndedConnection(t *testing.T) {
	for name, tt := range map[string]struct{ request, content, later string }{
		"length":  {"POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", "body", "dy"},
		"chunked": {chunkedPost + "\r\n4\r\nbody\r\n0\r\n\r\n", "4\r\nbody\r\n0\r\n\r\n", "0\r\n\r\n"},
		"none":    {"POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "", ""},
		"put":     {"PUT http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", "body", "dy"},
	} {
		for kind, end := range map[string]func(*peer){"close": func(o *peer) { o.Close() }, "reset": func(o *peer) { testkit.Reset(o.Conn) }} {
			t.Run(name+" "+kind, func(t *testing.T) {
				p := newPlainTest(t)
				kept := make(chan *unawareConn, 2)
				p.ts.dialOriginsWith(func(target tunnel.Authority) (net.Conn, error) {
					conn, err := net.Dial("tcp", target.String())
					if err != nil {
						return nil, err
					}
					unaware := &unawareConn{TCPConn: conn.(*net.TCPConn), closed: make(chan struct{})}
					kept <- unaware
					return unaware, nil
				})
				client, origin, _ := p.exchange(simpleGet)
				origin.send(okHello)
				client.expect(helloHere)
				end(origin)
				first := <-kept
				testkit.Eventually(t, "the end is there", func() bool { return sock.HasEnded(first) })
				client.send(p.fill(tt.request[:len(tt.request)-len(tt.later)]))
				again := p.origin.accept()
				if head := again.head(); !strings.HasPrefix(head, tt.request[:4]) {
					t.Fatalf("the origin got %q", head)
				}
				client.send(tt.later)
				again.expect(tt.content)
				again.send(okHello)
				client.expect(helloHere)
				client.send(p.fill(simpleGet)) // the client's connection is still in order
				again.head()
				again.send(okHello)
				client.expect(helloHere)
			})
		}
	}
}
