package client

import (
	"context"
	"errors"
	"net"

	"culvert/tunnel"
)

// OpenProxy connects to the route's last proxy, through those before it, with
// TLS if the hop wants that, and asks it nothing: what is sent and received on
// the conn is all the caller's. TLS offers these protocols by ALPN, HTTP/1.1 if
// there are none. The context covers the connecting, and so do the Client's
// timeouts. The caller closes the conn. Errors are *Error, save ErrNoProxy.
func (c *Client) OpenProxy(ctx context.Context, protocols ...string) (net.Conn, error) {
	if c.Route.Direct() {
		return nil, ErrNoProxy
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	hops := c.Route.Hops
	last := hops[len(hops)-1]
	if last.IsSOCKS() {
		return nil, &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Hop: last.Name(), Detail: "the last proxy speaks SOCKS, not HTTP"}
	}
	conn, err := c.reach(ctx, last)
	if err != nil {
		return nil, err
	}
	if last.Scheme != tunnel.SchemeHTTPS && last.Scheme != tunnel.SchemeH2 {
		return conn, nil
	}
	if len(protocols) == 0 {
		protocols = []string{tunnel.ALPNHTTP1}
	}
	secured, e := c.secureProxy(ctx, conn, last, protocols...)
	if e != nil {
		conn.Close()
		e.Hop = last.Name()
		return nil, e
	}
	return secured, nil
}

// reach connects to the last hop.
func (c *Client) reach(ctx context.Context, last tunnel.Hop) (net.Conn, error) {
	hops := c.Route.Hops
	if len(hops) == 1 {
		conn, _, e := c.connectFirst(ctx, last.Proxy)
		if e != nil {
			return nil, e
		}
		return conn, nil
	}
	if last.Scheme == tunnel.SchemeUnix {
		return nil, errors.New("a unix socket can be the first proxy only")
	}
	before := c.sharing()
	before.Route, before.Or, before.TLS = tunnel.Route{Hops: hops[:len(hops)-1], Source: c.Route.Source}, nil, nil
	return before.Open(ctx, last.Proxy)
}

// ErrNoProxy is Probe's error for a Client whose route is direct.
var ErrNoProxy = errors.New("there is no proxy to probe")
