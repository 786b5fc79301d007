package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel/internal/testkit"
)

const chunkedPost = "POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"

// The origin has the first piece of a request before the client sends the second, and
// the client that of a reply.
func TestPlainStreamsBothWays(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(chunkedPost + "\r\n1\r\na\r\n")
	origin.expect("1\r\na\r\n")
	origin.send("HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n")
	client.head()
	for _, piece := range []string{"b", "c"} {
		origin.send("1\r\n" + piece + "\r\n")
		client.expect("1\r\n" + piece + "\r\n")
		client.send("1\r\n" + piece + "\r\n")
		origin.expect("1\r\n" + piece + "\r\n")
	}
	client.send("0\r\n\r\n")
	origin.expect("0\r\n\r\n")
	origin.send("0\r\n\r\n")
	client.expect("0\r\n\r\n")
	p.logged(200, 3, 2)
}

func TestPlainStreamsContentOfKnownLength(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange("PUT http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
	origin.expect("a")
	client.send("b")
	origin.expect("b")
	origin.send("HTTP/1.1 200 OK\r\n" + date + "Content-Length: 2\r\n\r\na")
	client.head()
	client.expect("a")
	origin.send("b")
	client.expect("b")
	p.logged(200, 2, 2)
}

// A reply that ends with its connection streams too.
func TestPlainStreamsUntilClose(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange("GET http://ORIGIN/ HTTP/1.0\r\n\r\n")
	origin.send("HTTP/1.0 200 OK\r\n" + date + "\r\na")
	client.head()
	client.expect("a")
	origin.send("b")
	client.expect("b")
	origin.Close()
	if got := client.rest(); got != "" {
		t.Errorf("then came %q", got)
	}
	p.logged(200, 0, 2)
}

// RFC 9110, section 6.5.
func TestPlainTrailersBothWays(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange(chunkedPost + "TE: trailers\r\nTrailer: X-A, X-Missing\r\n\r\n" +
		"1\r\na\r\n0\r\nX-A: 1\r\nX-Unannounced: 2\r\nContent-Length: 7\r\nTransfer-Encoding: x\r\nHost: y\r\nConnection: X-A\r\n\r\n")
	if got := fieldLine(head, "Trailer"); got != "X-A, X-Missing" {
		t.Errorf("the origin got Trailer %q", got)
	}
	origin.expect("1\r\na\r\n0\r\n")
	if got, want := origin.head(), "X-Unannounced: 2\r\n\r\n"; got != want {
		t.Errorf("the origin got the trailers %q, want %q", got, want)
	}
	origin.send("HTTP/1.1 200 OK\r\n" + date + "Trailer: X-A, Connection\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 7\r\n\r\n")
	client.expect("HTTP/1.1 200 OK\r\n" + date + "Trailer: X-A, Connection\r\nVia: 1.1 p\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n")
}

func TestPlainUnannouncedTrailerOfARequest(t *testing.T) {
	p := newPlainTest(t)
	_, origin, _ := p.exchange(chunkedPost + "\r\n0\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
	origin.expect("0\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
}

func TestPlainForbiddenTrailerAnnounced(t *testing.T) {
	newPlainTest(t).refused(chunkedPost+"Trailer: Content-Length\r\n\r\n0\r\n\r\n", 400, "http_request_error")
}

const expectPost = "POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"

// RFC 9110, section 10.1.1.
func TestPlainExpectIsRelayed(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange(expectPost)
	if fieldLine(head, "Expect") != "100-continue" {
		t.Errorf("the origin got %q", head)
	}
	origin.send("HTTP/1.1 100 Continue\r\n\r\n")
	client.expect("HTTP/1.1 100 Continue\r\n\r\n")
	client.send("body")
	origin.expect("body")
	origin.send(okHello)
	client.expect(helloHere)
	p.logged(200, 4, 5)
	client.send(p.fill(simpleGet))
	origin.head()
}

// The proxy sends the 100 that the client waits for if the origin does not.
func TestPlainExpectThatTheOriginIgnores(t *testing.T) {
	t.Parallel()
	p := newPlainTest(t)
	client, origin, _ := p.exchange(expectPost)
	client.expect("HTTP/1.1 100 Continue\r\n\r\n")
	client.send("body")
	origin.expect("body")
	origin.send("HTTP/1.1 100 Continue\r\n\r\n" + okHello) // late: the client must not get it twice
	client.expect(helloHere)
}

// A client need not wait for a 100.
func TestPlainExpectWithTheContentAtOnce(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(expectPost + "body")
	origin.send("HTTP/1.1 100 Continue\r\n\r\n")
	origin.expect("body")
	origin.send(okHello)
	client.expect("HTTP/1.1 100 Continue\r\n\r\n" + helloHere)
}

// A client that waits for a 100 and gets a final reply may or may not send its content,
// so its connection is closed.
func TestPlainExpectRefusedUnread(t *testing.T) {
	for name, closing := range map[string]string{"kept": "", "closed": "Connection: close\r\n"} {
		t.Run(name, func(t *testing.T) {
			p := newPlainTest(t)
			client, origin, _ := p.exchange(expectPost)
			origin.send("HTTP/1.1 417 Expectation Failed\r\n" + date + closing + "Content-Length: 2\r\n\r\nno")
			want := "HTTP/1.1 417 Expectation Failed\r\n" + date + "Via: 1.1 p\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
			if got := client.rest(); got != want {
				t.Errorf("got %q\nwant %q", got, want)
			}
			p.logged(417, 0, 2)
			origin.ended()
		})
	}
}

// RFC 9110, section 10.1.1: an HTTP/1.0 client gets no 100, so the origin is not asked
// for one.
func TestPlainExpectOfHTTP10(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange("POST http://ORIGIN/ HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
	if strings.Contains(head, "Expect") {
		t.Errorf("the origin got %q", head)
	}
	origin.expect("body")
	origin.send("HTTP/1.1 100 Continue\r\n\r\n" + okHello)
	if got := client.rest(); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("the client got %q", got)
	}
}

// RFC 9110, section 15.2.
func TestPlainInterimReplies(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	origin.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-a\r\nX-A: 1\r\n\r\n")
	client.expect("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
	origin.send("HTTP/1.1 102 Processing\r\n\r\n")
	client.expect("HTTP/1.1 102 Processing\r\n\r\n")
	origin.send(okHello)
	client.expect(helloHere)
}

func TestPlainInterimRepliesAreNotForHTTP10(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange("GET http://ORIGIN/ HTTP/1.0\r\n\r\n")
	origin.send("HTTP/1.1 103 Early Hints\r\n\r\n" + okHello)
	if got := client.rest(); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("the client got %q", got)
	}
}

const bigBody = 64 << 20

// bigPattern is content in which a missing piece shows.
func bigPattern(n int) io.Reader {
	piece := bytes.Repeat([]byte("0123456789abcde\n"), 4096)
	readers := make([]io.Reader, n/len(piece))
	for i := range readers {
		readers[i] = bytes.NewReader(piece)
	}
	return io.MultiReader(readers...)
}

// 64 MiB in each direction, and the process grows by less than a quarter of that.
func TestPlainBigContentIsNotBuffered(t *testing.T) {
	p := newPlainTest(t)
	before := heapInUse()
	client, origin, _ := p.exchange(fmt.Sprintf("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", bigBody))
	transfer := func(from, to *peer) {
		sent := make(chan error, 1)
		go func() {
			_, err := io.Copy(from.Conn, bigPattern(bigBody))
			sent <- err
		}()
		wantBig(t, io.LimitReader(to.br, bigBody))
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
	transfer(client, origin)
	origin.send(fmt.Sprintf("HTTP/1.1 200 OK\r\n"+date+"Content-Length: %d\r\n\r\n", bigBody))
	client.head()
	transfer(origin, client)
	p.logged(200, bigBody, bigBody)
	if grown := heapInUse() - before; grown > bigBody/4 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// A client that does not read slows the origin down, and the proxy's memory stays
// bounded.
func TestPlainSlowReaderHoldsTheOriginBack(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	before := heapInUse()
	origin.send(fmt.Sprintf("HTTP/1.1 200 OK\r\n"+date+"Content-Length: %d\r\n\r\n", bigBody))
	origin.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := io.Copy(struct{ io.Writer }{origin.Conn}, bigPattern(bigBody))
	var network net.Error
	if !errors.As(err, &network) || !network.Timeout() {
		t.Fatalf("%d bytes went out, and then %v", n, err)
	}
	if grown := heapInUse() - before; grown > bigBody/4 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	testkit.Reset(client.Conn)
	origin.ended()
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func wantBig(tb testing.TB, got io.Reader) {
	tb.Helper()
	want, a, b := bigPattern(bigBody), make([]byte, 64<<10), make([]byte, 64<<10)
	for n := 0; ; n += len(a) {
		if _, err := io.ReadFull(want, a); err == io.EOF {
			return
		}
		if _, err := io.ReadFull(got, b); err != nil || !bytes.Equal(a, b) {
			tb.Fatalf("the content differs within the 64 KiB from %d: %v", n, err)
		}
	}
}

// countedListener counts the writes on the conns it accepts.
type countedListener struct {
	net.Listener
	writes *atomic.Int64
}

type countedConn struct {
	testkit.HiddenConn
	writes *atomic.Int64
}

func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{testkit.HiddenConn{Conn: conn}, l.writes}, nil
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.HiddenConn.Write(b)
}

// A reply that has arrived whole is written at once, chunked or not.
func TestPlainSmallReplyGoesOutInOnePiece(t *testing.T) {
	for name, tt := range map[string]struct{ reply, want string }{
		"length": {okHello, helloHere},
		"chunked": {"HTTP/1.1 200 OK\r\n" + date + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var writes atomic.Int64
			l := testkit.Listen(t, "127.0.0.1:0")
			p := &plainTest{TB: t, ts: startServerOn(t, &Server{Name: "p"}, countedListener{l, &writes}), origin: startOrigin(t)}
			client, origin, _ := p.exchange(simpleGet)
			for range 20 {
				origin.send(tt.reply)
				client.expect(tt.want)
				client.send(p.fill(simpleGet))
				origin.head()
			}
			if n := writes.Load(); n != 20 {
				t.Errorf("20 replies took %d writes", n)
			}
		})
	}
}
