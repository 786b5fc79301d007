package client

import (
	"context"
	"errors"
	"net"

	"culvert/tunnel"
)

// OpenProxy connects to the route's last proxy, through those before it, with TLS if
// the hop's scheme wants that. It sends the proxy nothing: the caller speaks HTTP on the
// conn. TLS offers the given protocols by ALPN, or HTTP/1.1 if there are none. The
// context and the Client's timeouts cover the connecting only. The caller closes the
// conn. Errors are *tunnel.Error, except for ErrNoProxy and for a Unix socket that is
// not the first hop.
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

// reach connects to the last hop, through those before it.
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

// ErrNoProxy is returned where a proxy is needed and the Client's route is direct.
var ErrNoProxy = errors.New("there is no proxy to probe")
