package forward

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
)

// parentTransport carries the requests that take a route through parents.
type parentTransport struct {
	route tunnel.Route
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

// upstreamConn is a connection to an origin or a parent. It knows the exchange whose
// request it carries.
type upstreamConn struct {
	net.Conn
	addr    string        // of the peer
	drained chan struct{} // closed when nothing more can be read; nil = Write does not wait for that
	mu      sync.Mutex
	x       *exchange // under way; nil = idle
	closed  bool
	ended   bool         // drained is closed
	options replyOptions // of the reply under way
}

// socket returns the conn beneath a tunnel through a parent, or the conn itself.
func (c *upstreamConn) socket() net.Conn {
	if through, ok := c.Conn.(*client.Conn); ok {
		return through.NetConn()
	}
	return c.Conn
}

// carry sets the exchange whose request goes over the connection.
func (c *upstreamConn) carry(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.x, c.options = x, replyOptions{}
	if c.closed {
		x.body.interrupt(errUpstreamGone)
	}
}

// drop undoes carry, unless the connection carries the next request already.
func (c *upstreamConn) drop(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.x == x {
		c.x = nil
	}
}

// Read may wait, so the client is sent first what there is of its reply.
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
		c.noteEnd()
	}
	return n, err
}

// replyOptions returns the Connection fields of the reply that was read last.
func (c *upstreamConn) replyOptions() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.options.values
}

// Write fails only when nothing more can be read. An origin that reads no more of a
// request may have replied to it, and for the transport a failed write would end
// the exchange (RFC 9112, section 9.5).
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

// carried returns the exchange under way, or nil.
func (c *upstreamConn) carried() *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.x
}

// noteEnd notes that nothing more can be read. c.mu is held.
func (c *upstreamConn) noteEnd() {
	if !c.ended && c.drained != nil {
		close(c.drained)
	}
	c.ended = true
}

// Close also ends the reading of the request's content. Otherwise the transport
// would wait for a client that has nothing to send before it returns the failure.
func (c *upstreamConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.noteEnd()
	if c.x != nil {
		c.x.body.interrupt(errUpstreamGone)
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// transport returns the Transport for a route.
func (f *Forwarder) transport(route tunnel.Route) *http.Transport {
	if route.Direct() {
		return f.direct
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.parents {
		if t.route.Equal(route) {
			return t.Transport
		}
	}
	t := parentTransport{route: route}
	if f.parentForwards(route) {
		t.Transport = f.newParentTransport(route)
	} else {
		t.Transport = f.newTunnelTransport(route)
	}
	f.parents = append(f.parents, t)
	return t.Transport
}

// newTunnelTransport returns a Transport for requests in origin-form, to origins.
func (f *Forwarder) newTunnelTransport(route tunnel.Route) *http.Transport {
	return newTransport(func(ctx context.Context, _, address string) (net.Conn, error) {
		target, err := tunnel.ParseAuthority(address)
		if err != nil {
			return nil, err
		}
		conn, e := f.host.Dial(ctx, route, target)
		if e != nil {
			return nil, e
		}
		return conn, nil
	})
}

// newParentTransport returns a Transport for requests in absolute-form to a parent,
// with the credentials that the route has for it.
func (f *Forwarder) newParentTransport(route tunnel.Route) *http.Transport {
	t := newTransport(func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, e := f.host.DialParent(ctx, route)
		if e != nil {
			return nil, e
		}
		return conn, nil
	})
	last := route.Hops[len(route.Hops)-1]
	parent := &url.URL{Scheme: "http", Host: last.Proxy.String()}
	if last.Scheme == tunnel.SchemeUnix {
		parent.Host = "localhost" // not used: DialParent knows the socket
	}
	if c := last.Credentials; c != nil {
		parent.User = url.UserPassword(c.User, c.Password)
	}
	t.Proxy = http.ProxyURL(parent)
	return t
}

// parentForwards reports whether a route's last hop is asked to forward requests. With one
// that is to speak HTTP/2 a tunnel is opened, since the transport speaks HTTP/1;
// SOCKS has tunnels only.
func (f *Forwarder) parentForwards(route tunnel.Route) bool {
	if f.TunnelsOnly || route.Direct() {
		return false
	}
	switch route.Hops[len(route.Hops)-1].Scheme {
	case tunnel.SchemeHTTP, tunnel.SchemeHTTPS, tunnel.SchemeUnix:
		return true
	}
	return false
}

// staleTries bounds how many pooled connections that turn out to be closed are tried.
const staleTries = 4

// roundTrip sends the request and returns the reply. If the origin has closed the
// pooled connection meanwhile, the library tries another by itself, unless part of
// the request was written by then. A request that may be repeated is sent again in
// that case too (RFC 9112, section 9.3.1), as long as no reply has begun. One that
// must not be repeated (RFC 9110, section 9.2.2) is sent only on a connection that
// is not known to have ended, and may fail if the origin closes it at that moment.
// Where a route cannot be taken, the rule's next one is tried.
func (x *exchange) roundTrip(ctx context.Context) (*http.Response, error) {
	for {
		reply, err := x.roundTripOnRoute(ctx)
		var e *tunnel.Error
		if err == nil || len(x.others) == 0 || !errors.As(err, &e) || !e.OtherRouteMayWork() || x.interim.answered() || ctx.Err() != nil || !x.body.renew() {
			return reply, err
		}
		x.host().RouteFailed(x.route, x.Record.Target, e)
		next := x.others[0]
		x.others = x.others[1:]
		if e := x.takeRoute(next); e != nil {
			return nil, e
		}
	}
}

// roundTripOnRoute is roundTrip along one route.
func (x *exchange) roundTripOnRoute(ctx context.Context) (*http.Response, error) {
	transport, out := x.transport(), x.outgoing(ctx)
	for tries := 1; ; tries++ {
		x.reused, x.stale = false, false
		reply, err := transport.RoundTrip(out)
		if err == nil || tries > staleTries || ctx.Err() != nil || !x.mayRepeat() {
			return reply, err
		}
	}
}

// mayRepeat reports whether a request that failed may be sent once more.
func (x *exchange) mayRepeat() bool {
	if x.stale { // not a byte of it went out
		return x.body.renew()
	}
	return x.repeatable && x.reused && !x.interim.answered()
}

// idempotent reports whether a method may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
