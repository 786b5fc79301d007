package forward

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
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// Replies of an origin, with a Date so that none is added.
const (
	emptyReply = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
	helloReply = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello"
)

// fakeHost is a Host whose connections lead to the test.
type fakeHost struct {
	refusal *tunnel.Error            // of every request; nil = none
	routes  []tunnel.Route           // to every target; nil = direct
	broken  map[string]*tunnel.Error // by what is dialled
	dialed  chan fakeDial
	failed  chan string // routes that could not be taken
	logged  chan *accesslog.Record
}

// fakeDial is a connection that a Forwarder asked for.
type fakeDial struct {
	to   string   // "direct TARGET", "ROUTE TARGET", or "ROUTE" for its last hop
	conn net.Conn // the other end
}

func newFakeHost() *fakeHost {
	return &fakeHost{routes: []tunnel.Route{{}}, dialed: make(chan fakeDial, 9), failed: make(chan string, 9), logged: make(chan *accesslog.Record, 9)}
}

func (h *fakeHost) dial(to string) (net.Conn, *tunnel.Error) {
	if e := h.broken[to]; e != nil {
		return nil, e
	}
	near, far := net.Pipe()
	h.dialed <- fakeDial{to, far}
	return near, nil
}

func (h *fakeHost) Check(*Incoming) *tunnel.Error { return h.refusal }
func (h *fakeHost) LimitError(err error) *tunnel.Error {
	return tunnel.AsError(err, tunnel.PhasePolicy)
}
func (h *fakeHost) Routes(tunnel.Authority) (tunnel.Route, []tunnel.Route) {
	return h.routes[0], h.routes[1:]
}
func (h *fakeHost) JudgeAddr(tunnel.Authority) *tunnel.Error { return nil }
func (h *fakeHost) RouteFailed(r tunnel.Route, _ tunnel.Authority, _ *tunnel.Error) {
	h.failed <- r.String()
}
func (h *fakeHost) Dial(_ context.Context, in *Incoming, r tunnel.Route) (net.Conn, *tunnel.Error) {
	return h.dial(r.String() + " " + in.Record.Target.String())
}
func (h *fakeHost) DialParent(_ context.Context, _ *Incoming, r tunnel.Route) (net.Conn, *tunnel.Error) {
	return h.dial(r.String())
}
func (h *fakeHost) DialTunnel(context.Context, *Incoming) (relay.Side, *tunnel.Error) {
	return relay.Side{}, &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.ErrorConnectionRefused}
}
func (h *fakeHost) Tunnel(*Incoming, relay.Side, relay.Side) {}
func (h *fakeHost) Log(rec *accesslog.Record)                { h.logged <- rec }
func (h *fakeHost) Draining() bool                           { return false }

// fakeWire is the Wire of a client that the test plays.
type fakeWire struct {
	HTTP1
	refused chan *tunnel.Error
}

func (w *fakeWire) Give() relay.Side                                    { return relay.Side{Conn: w.Conn} }
func (w *fakeWire) Refuse(_ *accesslog.Record, e *tunnel.Error, _ bool) { w.refused <- e }

// fakeClient sends requests to a Forwarder, one after the other.
type fakeClient struct {
	testing.TB
	conn      net.Conn
	br        *bufio.Reader
	wire      *fakeWire
	exchanges *Exchanges
}

func newFakeClient(t *testing.T, f *Forwarder) *fakeClient {
	near, far := net.Pipe()
	for _, conn := range []net.Conn{near, far} {
		conn.SetDeadline(time.Now().Add(testkit.Patience))
	}
	w := &fakeWire{HTTP1{Conn: near, Reader: bufio.NewReader(near)}, make(chan *tunnel.Error, 1)}
	c := &fakeClient{TB: t, conn: far, br: bufio.NewReader(far), wire: w, exchanges: f.NewExchanges(t.Context(), near, w)}
	t.Cleanup(func() {
		c.exchanges.Close()
		near.Close()
		far.Close()
		f.CloseIdleConnections()
	})
	return c
}

// ask sends a request. What Serve returns arrives on the channel.
func (c *fakeClient) ask(request string) <-chan Next {
	c.Helper()
	next := make(chan Next, 1)
	go func() {
		head, err := wire.ReadRequest(c.wire.Reader, 0)
		if err != nil {
			c.Error(err)
		}
		next <- c.exchanges.Serve(Incoming{Head: head, Record: &accesslog.Record{Start: time.Now(), Method: head.Method}})
	}()
	if _, err := io.WriteString(c.conn, request); err != nil {
		c.Fatal(err)
	}
	return next
}

// answer plays the origin or the parent: it sends the reply, and returns the head that
// it got.
func (d fakeDial) answer(t *testing.T, reply string) string {
	t.Helper()
	t.Cleanup(func() { d.conn.Close() })
	d.conn.SetDeadline(time.Now().Add(testkit.Patience))
	head, err := wire.ReadRequest(bufio.NewReader(d.conn), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d.conn, reply); err != nil {
		t.Fatal(err)
	}
	return string(head.Raw)
}

const plainGet = "GET http://origin.test/x HTTP/1.1\r\nHost: origin.test\r\n\r\n"

// A Forwarder needs a Host and a Wire, and nothing of a Server.
func TestForwarderByItself(t *testing.T) {
	h := newFakeHost()
	c := newFakeClient(t, New(h, "p"))
	next := c.ask(plainGet)
	origin := testkit.Receive(t, "a connection to the origin", h.dialed)
	head := origin.answer(t, helloReply)
	if want := "GET /x HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 p\r\n\r\n"; origin.to != "direct origin.test:80" || head != want {
		t.Errorf("%s got %q, want %q", origin.to, head, want)
	}
	reply, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(reply.Body); string(body) != "hello" || reply.Header.Get("Via") != "1.1 p" {
		t.Errorf("the client got %q, %v", body, reply.Header)
	}
	if n := testkit.Receive(t, "the end of the exchange", next); n != NextRequest {
		t.Errorf("next is %d", n)
	}
	if rec := testkit.Receive(t, "the record", h.logged); rec.Status != 200 || rec.Target.String() != "origin.test:80" || rec.Down != 5 {
		t.Errorf("the record is %+v", rec)
	}
}

func TestForwarderRefusesWhatTheHostRefuses(t *testing.T) {
	h := newFakeHost()
	h.refusal = &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorDenied}
	c := newFakeClient(t, New(h, "p"))
	next := c.ask(plainGet)
	if e := testkit.Receive(t, "the refusal", c.wire.refused); e != h.refusal {
		t.Errorf("refused for %v", e)
	}
	if n := testkit.Receive(t, "the end of the exchange", next); n != NextClose || len(h.dialed) > 0 {
		t.Errorf("next is %d, and %d connections were asked for", n, len(h.dialed))
	}
}

// A route that cannot be taken gives way to the next: absolute-form to a parent,
// origin-form through a tunnel.
func TestForwarderTriesRoutesInOrder(t *testing.T) {
	h := newFakeHost()
	h.routes = []tunnel.Route{testkit.MustRoute(t, "http://gone:1"), testkit.MustRoute(t, "http://me:pw@parent:2")}
	h.broken = map[string]*tunnel.Error{"http://gone:1": {Phase: tunnel.PhaseConnect, Type: tunnel.ErrorConnectionRefused}}
	c := newFakeClient(t, New(h, "p"))
	next := c.ask(plainGet)
	parent := testkit.Receive(t, "a connection to the parent", h.dialed)
	if parent.to != "http://parent:2" || testkit.Receive(t, "the failed route", h.failed) != "http://gone:1" {
		t.Errorf("dialled %s", parent.to)
	}
	head := parent.answer(t, emptyReply)
	if !strings.HasPrefix(head, "GET http://origin.test/x HTTP/1.1\r\n") || !strings.Contains(head, "\r\nProxy-Authorization: Basic bWU6cHc=\r\n") {
		t.Errorf("the parent got %q", head)
	}
	if _, err := http.ReadResponse(c.br, nil); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, "the end of the exchange", next)

	f := New(h, "p")
	f.TunnelsOnly = true
	h.routes = h.routes[1:]
	c = newFakeClient(t, f)
	next = c.ask(plainGet)
	parent = testkit.Receive(t, "a tunnel", h.dialed)
	if head := parent.answer(t, emptyReply); parent.to != "http://parent:2 origin.test:80" || !strings.HasPrefix(head, "GET /x HTTP/1.1\r\n") || strings.Contains(head, "Proxy-Authorization") {
		t.Errorf("by %s the origin got %q", parent.to, head)
	}
	if _, err := http.ReadResponse(c.br, nil); err != nil {
		t.Fatal(err)
	}
	testkit.Receive(t, "the end of the exchange", next)
}

// Rules share the connections to a parent if they share its credentials.
func TestForwarderSharesConnectionsByValue(t *testing.T) {
	f := New(newFakeHost(), "p")
	mine := f.parentOf(testkit.MustRoute(t, "http://me:pw@parent:1"))
	if f.parentOf(testkit.MustRoute(t, "http://me:pw@parent:1")) != mine {
		t.Error("an equal route has connections of its own")
	}
	for _, other := range []string{"http://you:pw@parent:1", "http://me:other@parent:1", "http://parent:1", "http://me:pw@parent:1,http://next:1"} {
		if f.parentOf(testkit.MustRoute(t, other)) == mine {
			t.Errorf("%s shares the connections of another user or route", testkit.MustRoute(t, other))
		}
	}
}
