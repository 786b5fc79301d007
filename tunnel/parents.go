package tunnel

import (
	"context"
	"net"
	"sync"
)

// parents are the Clients of the routes, one for all equal ones, so that tunnels
// share connections to parents that speak HTTP/2. There are as few as the rules
// have routes.
type parents struct {
	mu      sync.Mutex
	clients []*Client
}

// parentClient opens tunnels along a route within ConnectTimeout. Who the
// parents are is the operator's word: the policy does not judge them.
func (s *Server) parentClient(route Route) *Client {
	p := &s.run.parents
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		if c.Route.Equal(route) {
			return c
		}
	}
	timeout := s.connectTimeout()
	if timeout == 0 {
		timeout = -1
	}
	c := &Client{Route: route, Resolver: s.Resolver, ConnectTimeout: timeout, Timeout: timeout}
	p.clients = append(p.clients, c)
	return c
}

// closeIdle closes the connections that tunnels shared.
func (p *parents) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// connectParent connects to a route's last hop, through those before it.
func (s *Server) connectParent(ctx context.Context, route Route) (net.Conn, *Error) {
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
	if hop := route.Hops[last]; hop.Scheme == SchemeHTTPS {
		secured, e := c.secureFor(ctx, conn, hop, alpnHTTP1)
		if e != nil {
			conn.Close()
			return nil, parentFailure(e)
		}
		return secured, nil
	}
	return conn, nil
}
