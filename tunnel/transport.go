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
	byVia  map[string]*http.Transport // by route
}

// Bounds of the connections kept to origins and parents.
const (
	idleUpstreams        = 256
	idleUpstreamsPerHost = 32
	idleUpstreamTimeout  = 50 * time.Second
	continueTimeout      = time.Second
)

func newForwarder(at *listening) *forwarder {
	f := &forwarder{at: at, byVia: make(map[string]*http.Transport)}
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
		DialContext: dial, DisableCompression: true,
		MaxIdleConns: idleUpstreams, MaxIdleConnsPerHost: idleUpstreamsPerHost, IdleConnTimeout: idleUpstreamTimeout,
		ExpectContinueTimeout: continueTimeout,
	}
}

// transport is the one for a route: to a parent requests go in absolute-form,
// with the parent's own credentials.
func (f *forwarder) transport(route Route) *http.Transport {
	if route.Direct() {
		return f.direct
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := route.String()
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
