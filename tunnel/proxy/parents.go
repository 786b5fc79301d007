package proxy

import (
	"context"
	"net"
	"sync"

	"culvert/tunnel"
	"culvert/tunnel/client"
)

// parents holds one Client for all equal routes, so that tunnels share the
// connections to parents that speak HTTP/2. There are no more Clients than the
// Via rules have routes, so a search is cheap.
type parents struct {
	mu      sync.Mutex
	clients []*client.Client
}

// parentClient returns the Client that opens tunnels along a route, each within
// ConnectTimeout. The operator chose the parents: the policy does not judge them.
func (s *Server) parentClient(route tunnel.Route) *client.Client {
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
	c := &client.Client{Route: route, Resolver: s.Resolver, ConnectTimeout: timeout, Timeout: timeout}
	p.clients = append(p.clients, c)
	return c
}

// closeIdle closes the shared connections that carry no tunnel.
func (p *parents) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// connectParent connects to a route's last hop, through those before it, over TLS
// if the hop wants that. The caller closes the conn.
func (s *Server) connectParent(ctx context.Context, route tunnel.Route) (net.Conn, *tunnel.Error) {
	conn, err := s.parentClient(route).OpenProxy(ctx)
	if err != nil {
		return nil, parentFailure(tunnel.AsError(err, tunnel.PhaseConnect))
	}
	return conn, nil
}
