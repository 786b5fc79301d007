package tunnel

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// forwarder carries plain HTTP for one policy snapshot. The standard library's
// Transport parses, frames and pools; the addresses it may connect to are
// judged by our dialer, once per connection, and what is asked for once per
// request.
type forwarder struct {
	at     *listening
	direct *http.Transport
	via    *viaFields // ours, for messages in both directions
	mu     sync.Mutex
	byVia  []parentTransport // one for all equal routes; guarded by mu
}

// parentTransport carries the requests that take a route.
type parentTransport struct {
	route Route
	*http.Transport
}

// Bounds of the connections kept to origins and parents.
const (
	idleUpstreams        = 256
	idleUpstreamsPerHost = 32
	idleUpstreamTimeout  = 50 * time.Second
	continueTimeout      = time.Second
	maxReplyHead         = 256 << 10
)

func newForwarder(at *listening) *forwarder {
	f := &forwarder{at: at, via: newViaFields(at.server.pseudonym())}
	f.direct = newTransport(func(ctx context.Context, _, address string) (net.Conn, error) {
		target, err := ParseAuthority(address)
		if err != nil {
			return nil, err
		}
		side, e := at.dialDirect(ctx, target, &Record{})
		if e != nil {
			return nil, e
		}
		return side.conn, nil
	})
	return f
}

func newTransport(dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &upstreamConn{Conn: conn, addr: conn.RemoteAddr().String(), drained: make(chan struct{})}, nil
		},
		DisableCompression: true, MaxResponseHeaderBytes: maxReplyHead,
		MaxIdleConns: idleUpstreams, MaxIdleConnsPerHost: idleUpstreamsPerHost, IdleConnTimeout: idleUpstreamTimeout,
		ExpectContinueTimeout: continueTimeout,
	}
}

// upstreamConn is a connection to an origin or a parent that knows the request
// it carries.
type upstreamConn struct {
	net.Conn
	addr    string        // of its other end
	drained chan struct{} // closed when nothing more can be read; nil = Write waits for nothing
	mu      sync.Mutex
	x       *plainExchange // under way; nil = idle
	closed  bool
	ended   bool         // drained is closed
	options replyOptions // of the reply under way
}

// carry says whose request goes over the connection.
func (c *upstreamConn) carry(x *plainExchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.x, c.options = x, replyOptions{}
	if c.closed {
		x.body.interrupt(errUpstreamGone)
	}
}

// drop ends that, unless the connection carries the next one already.
func (c *upstreamConn) drop(x *plainExchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.x == x {
		c.x = nil
	}
}

// Read may wait: what the client can have, it gets before.
func (c *upstreamConn) Read(b []byte) (int, error) {
	if x := c.carried(); x != nil {
		x.pending.flush()
	}
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.x != nil {
		c.options.scan(b[:n])
	}
	if err != nil {
		c.end()
	}
	return n, err
}

// replyOptions are the Connection fields of the reply that was read last.
func (c *upstreamConn) replyOptions() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.options.values
}

// Write fails only when nothing more can be read: an origin that takes no more
// of a request may have answered it, and to the transport a failed write is the
// end of the exchange (RFC 9112, section 9.5).
func (c *upstreamConn) Write(b []byte) (int, error) {
	if x := c.carried(); x != nil {
		x.phase.sending.Store(true)
		defer x.phase.sending.Store(false)
	}
	n, err := c.Conn.Write(b)
	if err != nil && c.drained != nil {
		<-c.drained
	}
	return n, err
}

func (c *upstreamConn) carried() *plainExchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.x
}

// end says that nothing more can be read. c.mu is held.
func (c *upstreamConn) end() {
	if !c.ended && c.drained != nil {
		close(c.drained)
	}
	c.ended = true
}

// Close ends the request's content too, of which no more is wanted: without
// that, the transport would wait for a client that has nothing to send before
// it gave the failure away.
func (c *upstreamConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.end()
	if c.x != nil {
		c.x.body.interrupt(errUpstreamGone)
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// transport is the one for a route: to a parent requests go in absolute-form,
// with the parent's own credentials.
func (f *forwarder) transport(route Route) *http.Transport {
	if route.Direct() {
		return f.direct
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.byVia {
		if t.route.Equal(route) {
			return t.Transport
		}
	}
	t := f.newParentTransport(route)
	f.byVia = append(f.byVia, parentTransport{route, t})
	return t
}

func (f *forwarder) newParentTransport(route Route) *http.Transport {
	if !f.at.server.forwards(route) {
		return newTransport(func(ctx context.Context, _, address string) (net.Conn, error) {
			return f.at.tunnelTo(ctx, route, address)
		})
	}
	t := newTransport(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return f.at.server.connectParent(ctx, route)
	})
	last := route.Hops[len(route.Hops)-1]
	parent := &url.URL{Scheme: "http", Host: last.Proxy.String()}
	if last.Scheme == SchemeUnix {
		parent.Host = "localhost" // the dial function knows better
	}
	if c := last.Credentials; c != nil {
		parent.User = url.UserPassword(c.User, c.Password)
	}
	t.Proxy = http.ProxyURL(parent)
	return t
}

// takesRequests reports whether plain requests are the last hop's to forward.
// One that is told to speak HTTP/2 gets CONNECT only, as the transport speaks
// HTTP/1; one that speaks SOCKS knows no requests.
func (r Route) takesRequests() bool {
	if r.Direct() {
		return false
	}
	last := r.Hops[len(r.Hops)-1]
	return last.Scheme != SchemeH2 && last.Scheme != SchemeH2C && !last.isSOCKS()
}

func (f *forwarder) closeIdle() {
	f.direct.CloseIdleConnections()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.byVia {
		t.CloseIdleConnections()
	}
}

// staleTries bounds the pooled connections that may turn out to be closed.
const staleTries = 4

// roundTrip sends the request on. Where a pooled connection was closed by the
// origin meanwhile, the library tries another by itself, unless part of the
// request was written by then. A request that may be repeated is sent again in
// that case too (RFC 9112, section 9.3.1), as long as no answer began. One that
// must not (RFC 9110, section 9.2.2) goes out only on a connection that is not
// known to have ended, and may fail if the origin closes it at that moment. A
// route to whose end there is no connection is left for the rule's next.
func (x *plainExchange) roundTrip(ctx context.Context) (*http.Response, error) {
	for {
		reply, err := x.roundTripAlong(ctx)
		var e *Error
		if err == nil || len(x.or) == 0 || !errors.As(err, &e) || !e.elsewhere() || x.interim.answered() || ctx.Err() != nil || !x.body.renew() {
			return reply, err
		}
		x.c.server.complain("a route cannot be taken, trying the next", "route", x.route, "target", x.target, "error", e.Detail)
		next := x.or[0]
		x.or = x.or[1:]
		if e := x.take(next); e != nil {
			return nil, e
		}
	}
}

// roundTripAlong is roundTrip by one route.
func (x *plainExchange) roundTripAlong(ctx context.Context) (*http.Response, error) {
	transport, out := x.transport(), x.outgoing(ctx)
	for tries := 1; ; tries++ {
		x.reused, x.stale = false, false
		reply, err := transport.RoundTrip(out)
		if err == nil || tries > staleTries || ctx.Err() != nil || !x.again() {
			return reply, err
		}
	}
}

// again reports whether a request that failed may be sent once more.
func (x *plainExchange) again() bool {
	if x.stale { // not a byte of it went out
		return x.body.renew()
	}
	return x.repeatable && x.reused && !x.interim.answered()
}

// idempotent methods may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
