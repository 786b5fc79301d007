package proxy

import (
	"context"
	"net"
	"sync"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/quota"
)

// parents holds one Client for all equal routes, so that tunnels share connections
// to parents that speak HTTP/2. There is at most one for each route of the Via rules
// and for each route without its last hop, so a linear search is cheap.
type parents struct {
	mu      sync.Mutex
	clients []*client.Client
	watch   *client.Watch // of all clients
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
	if p.watch == nil {
		p.watch = &client.Watch{Tap: s.noteShared}
	}
	timeout := s.connectTimeout()
	if timeout == 0 {
		timeout = -1
	}
	c := &client.Client{Route: route, Resolver: s.resolver(nil), ConnectTimeout: timeout, Timeout: timeout, Watch: p.watch}
	p.clients = append(p.clients, c)
	return c
}

// noteShared counts a connection to a parent that several tunnels share. The tunnels
// themselves hold no descriptor for the way to their targets.
func (s *Server) noteShared(conn net.Conn) net.Conn {
	s.run.table.Own().Note(quota.Target)
	return &sharedConn{Conn: conn, release: sync.OnceFunc(func() { s.run.table.Own().Give(quota.Target) })}
}

// sharedConn is a connection that several tunnels share.
type sharedConn struct {
	net.Conn
	release func()
}

// NetConn returns the connection within.
func (c *sharedConn) NetConn() net.Conn { return c.Conn }

// Close implements net.Conn.
func (c *sharedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
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
