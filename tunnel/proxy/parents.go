package proxy

import (
	"context"
	"net"
	"sync"

	"culvert/tunnel"
	"culvert/tunnel/client"
)

// parents holds one Client for all equal routes, so that tunnels share connections
// to parents that speak HTTP/2. There is at most one for each route of the Via rules
// and for each route without its last hop, so a linear search is cheap.
type parents struct {
	mu      sync.Mutex
	clients []*client.Client
}

// parentClient returns the Client that opens tunnels along a route, each within
// ConnectTimeout. The policy does not judge parents: the operator chose them.
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
	c := &client.Client{Route: route, Resolver: s.resolver(), ConnectTimeout: timeout, Timeout: timeout}
	p.clients = append(p.clients, c)
	return c
}

// closeIdle closes the shared connections without tunnels.
func (p *parents) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// connectParent connects to a route's last hop, through the hops before it, and over
// TLS if it is an https proxy. The caller closes the conn.
func (s *Server) connectParent(ctx context.Context, route tunnel.Route) (net.Conn, *tunnel.Error) {
	conn, err := s.parentClient(route).OpenProxy(ctx)
	if err != nil {
		return nil, parentFailure(tunnel.AsError(err, tunnel.PhaseConnect))
	}
	return conn, nil
}
