package forward

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"culvert/tunnel"
)

// parentTransport carries the requests of a route through parents.
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

// newTransport returns a Transport that connects with dial.
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

// newTunnelTransport returns a Transport for requests to origins, in origin-form.
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

// newParentTransport returns a Transport for requests to a parent, in absolute-form and
// with the route's credentials for it.
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
		parent.Host = "localhost" // not used: DialParent connects to the socket
	}
	if c := last.Credentials; c != nil {
		parent.User = url.UserPassword(c.User, c.Password)
	}
	t.Proxy = http.ProxyURL(parent)
	return t
}

// parentForwards reports whether a route's last hop gets the requests themselves. A hop
// that speaks HTTP/2 is asked for tunnels instead, since the transport speaks HTTP/1;
// a SOCKS hop has only tunnels.
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
