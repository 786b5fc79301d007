package tunnel

import (
	"context"
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
	mu     sync.Mutex
	byVia  map[*Hop]*http.Transport // by the rule's first hop: no two rules share credentials
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
	f := &forwarder{at: at, byVia: make(map[*Hop]*http.Transport)}
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
			return &upstreamConn{Conn: conn}, nil
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
	mu     sync.Mutex
	x      *plainExchange // under way; nil = idle
	closed bool
}

// carry says whose request goes over the connection.
func (c *upstreamConn) carry(x *plainExchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.x = x
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
	c.mu.Lock()
	x := c.x
	c.mu.Unlock()
	if x != nil {
		x.pending.flush()
	}
	return c.Conn.Read(b)
}

// Close ends the request's content too, of which no more is wanted: without
// that, the transport would wait for a client that has nothing to send before
// it gave the failure away.
func (c *upstreamConn) Close() error {
	c.mu.Lock()
	c.closed = true
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
	key := &route.Hops[0]
	if t := f.byVia[key]; t != nil {
		return t
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
	f.byVia[key] = t
	return t
}

// connectParent connects to a route's last hop, through those before it.
func (s *Server) connectParent(ctx context.Context, route Route) (net.Conn, error) {
	last := len(route.Hops) - 1
	c := s.parentClient(Route{Hops: route.Hops[:last]})
	var conn *Conn
	var e *Error
	if hop := route.Hops[last]; hop.Scheme == SchemeUnix {
		var unix net.Conn
		unix, e = c.connectUnix(ctx, hop, Authority{})
		conn = &Conn{Conn: unix}
	} else if conn, e = c.open(ctx, hop.Proxy, nil); e != nil && e.Hop == "" {
		e.Hop = hop.Name()
	}
	if e != nil {
		return nil, parentFailure(e)
	}
	return conn, nil
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
// that case too (RFC 9112, section 9.3.1), as long as no answer began.
func (x *plainExchange) roundTrip(ctx context.Context) (*http.Response, error) {
	transport, out := x.transport(), x.outgoing(ctx)
	repeatable := out.Body == nil && idempotent(out.Method)
	for range staleTries {
		x.reused = false
		reply, err := transport.RoundTrip(out)
		if err == nil || !repeatable || !x.reused || x.interim.answered() || ctx.Err() != nil {
			return reply, err
		}
	}
	return transport.RoundTrip(out)
}

// idempotent methods may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
