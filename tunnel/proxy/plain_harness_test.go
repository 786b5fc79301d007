package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/forward"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
)

// plainTest is a proxy with the pseudonym p, and an origin that the test plays byte by
// byte.
type plainTest struct {
	testing.TB
	ts     *testServer
	origin *originServer
}

func newPlainTest(tb testing.TB) *plainTest {
	tb.Helper()
	return plainTestWith(tb, &Server{})
}

func plainTestWith(tb testing.TB, s *Server) *plainTest {
	tb.Helper()
	if s.Name == "" {
		s.Name = "p"
	}
	return &plainTest{TB: tb, ts: startServer(tb, s), origin: startOrigin(tb)}
}

// dialingHost is a host that connects to origins with dial.
type dialingHost struct {
	host
	dial func(tunnel.Authority) (net.Conn, error)
}

func (h dialingHost) Dial(_ context.Context, in *forward.Incoming, _ tunnel.Route) (net.Conn, *tunnel.Error) {
	conn, err := h.dial(in.Record.Target)
	if err != nil {
		return nil, tunnel.AsError(err, tunnel.PhaseConnect)
	}
	return conn, nil
}

// fill replaces ORIGIN by the origin's HOST:PORT.
func (p *plainTest) fill(text string) string {
	return strings.ReplaceAll(text, "ORIGIN", p.origin.addr)
}

// begin connects a client and sends its request.
func (p *plainTest) begin(request string) *peer {
	p.Helper()
	client := newPeer(p, p.ts.Dial())
	client.send(p.fill(request))
	return client
}

// exchange is begin, and accepts the origin's connection and reads the head there.
func (p *plainTest) exchange(request string) (client, origin *peer, head string) {
	p.Helper()
	client = p.begin(request)
	origin = p.origin.accept()
	return client, origin, origin.head()
}

// forwarded returns the head that the origin gets for a request, with ORIGIN for the
// origin's HOST:PORT.
func (p *plainTest) forwarded(request string) string {
	p.Helper()
	client, origin, head := p.exchange(request)
	origin.send(okEmpty)
	client.expect("HTTP/1.1 200 OK\r\n")
	client.Close()
	origin.Close()
	return strings.ReplaceAll(head, p.origin.addr, "ORIGIN")
}

// wantForwarded checks the head that the origin gets, byte for byte.
func (p *plainTest) wantForwarded(request, want string) {
	p.Helper()
	if got := p.forwarded(request); got != want {
		p.Errorf("the origin got %q\nwant %q", got, want)
	}
}

// answered returns all that a client gets if the origin sends reply.
func (p *plainTest) answered(reply string) string {
	p.Helper()
	return p.answeredTo("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", reply)
}

// answeredTo is answered for a certain request.
func (p *plainTest) answeredTo(request, reply string) string {
	p.Helper()
	client, origin, _ := p.exchange(request)
	origin.send(reply)
	origin.Close()
	return client.rest()
}

// refused sends a request, which must be refused without a connection to the origin.
func (p *plainTest) refused(request string, status int, token string) proxytest.Answer {
	p.Helper()
	a := p.ts.Ask(p.fill(request))
	rec := p.ts.CheckRefusal(a, status, token)
	rec.WantAbsent(p, "addr")
	return a
}

// logged checks the record of a request that was answered.
func (p *plainTest) logged(status, up, down int) proxytest.Record {
	p.Helper()
	rec := p.ts.NextRecord(accesslog.EventRequest)
	rec.WantNumber(p, "status", status)
	rec.WantNumber(p, "up", up)
	rec.WantNumber(p, "down", down)
	return rec
}

const (
	simpleGet = "GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n\r\n"
	// date keeps the proxy from adding one of its own.
	date    = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
	okEmpty = "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 0\r\n\r\n"
	okHello = "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 5\r\n\r\nhello"
	// helloHere is okHello as the client gets it.
	helloHere = "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 5\r\n\r\nhello"
	emptyHere = "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 0\r\n\r\n"
)

// originServer accepts when the test calls accept.
type originServer struct {
	testing.TB
	listener *net.TCPListener
	addr     string
}

func startOrigin(tb testing.TB) *originServer { return startOriginOn(tb, "127.0.0.1:0") }

func startOriginOn(tb testing.TB, address string) *originServer {
	tb.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return &originServer{TB: tb, listener: l.(*net.TCPListener), addr: l.Addr().String()}
}

func (o *originServer) accept() *peer {
	o.Helper()
	o.listener.SetDeadline(time.Now().Add(testkit.Patience))
	conn, err := o.listener.Accept()
	if err != nil {
		o.Fatal("no connection came: ", err)
	}
	conn.SetDeadline(time.Now().Add(testkit.Patience))
	o.Cleanup(func() { conn.Close() })
	return newPeer(o, conn)
}

// untouched checks that there was no connection. It does not wait for one, so the test
// must know from the client's answer that none can come.
func (o *originServer) untouched() {
	o.Helper()
	o.listener.SetDeadline(time.Now().Add(time.Millisecond))
	if conn, err := o.listener.Accept(); err == nil {
		conn.Close()
		o.Error("the origin was connected to")
	}
}

// peer is a conn of the test with a reader.
type peer struct {
	testing.TB
	net.Conn
	br *bufio.Reader
}

func newPeer(tb testing.TB, conn net.Conn) *peer {
	return &peer{TB: tb, Conn: conn, br: bufio.NewReader(conn)}
}

func (p *peer) send(text string) {
	p.Helper()
	testkit.Send(p.TB, p.Conn, text)
}

// head reads a head through its blank line.
func (p *peer) head() string {
	p.Helper()
	var b strings.Builder
	for {
		line, err := p.br.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			p.Fatalf("read %q and then %v, want a head", b.String(), err)
		}
		if line == "\r\n" {
			return b.String()
		}
	}
}

// line reads a line, with its line end.
func (p *peer) line() string {
	p.Helper()
	line, err := p.br.ReadString('\n')
	if err != nil {
		p.Fatalf("read %q and then %v, want a line", line, err)
	}
	return line
}

func (p *peer) expect(text string) {
	p.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(p.br, got); err != nil || string(got) != text {
		p.Fatalf("read %q, %v\nwant %q", got[:n], err, text)
	}
}

// rest reads to the orderly end.
func (p *peer) rest() string {
	p.Helper()
	got, err := io.ReadAll(p.br)
	if err != nil {
		p.Fatalf("read %.200q and then %v, want an orderly end", got, err)
	}
	return string(got)
}

// ended waits for the end, orderly or not.
func (p *peer) ended() {
	p.Helper()
	if _, err := io.Copy(io.Discard, p.br); neterr.Timeout(err) {
		p.Fatal("the connection is still open")
	}
}

// reply reads one reply, which must be complete.
func (p *peer) reply(method string) (*http.Response, string) {
	p.Helper()
	reply, err := http.ReadResponse(p.br, &http.Request{Method: method})
	if err != nil {
		p.Fatal("no reply came: ", err)
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		p.Fatalf("the reply is cut short after %.100q: %v", body, err)
	}
	return reply, string(body)
}

// cutShort reads one reply, which must not look complete.
func (p *peer) cutShort() {
	p.Helper()
	reply, err := http.ReadResponse(p.br, nil)
	if err != nil {
		return
	}
	if body, err := io.ReadAll(reply.Body); err == nil {
		p.Errorf("the reply passes for a whole one: %q", body)
	}
}

// fieldLine returns the value of the first field line of that name in a head, or "".
func fieldLine(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(n, name) {
			return value
		}
	}
	return ""
}
