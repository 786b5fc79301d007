package proxy

import (
	"cmp"
	"context"
	"net"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/forward"
	"culvert/tunnel/relay"
)

// host gives the stages of the spine to the Forwarder of a listener, which serves
// the requests other than CONNECT.
type host struct{ ln *listener }

var _ forward.Host = host{}

// newForwarder returns a Forwarder with the Server's settings.
func (s *Server) newForwarder(h forward.Host) *forward.Forwarder {
	f := forward.New(h, s.Pseudonym())
	f.IdleTimeout, f.Linger = max(0, s.IdleTimeout), max(0, cmp.Or(s.Linger, DefaultLinger))
	// A parent must connect to an address that was judged here, and a request in
	// absolute-form cannot say which.
	f.TunnelsOnly = s.ViaResolve
	return f
}

// Check implements forward.Host. It takes no slot, since only tunnels are counted.
func (h host) Check(in *forward.Incoming) *tunnel.Error {
	target := in.Record.Target
	a := requestInfo{target, in.Client, in.User, in.Head.Values("Proxy-Authorization"), in.Head.Values("Via"), weightOf(in.Head), in.Watch}
	if e := h.ln.check(a, in.Record); e != nil {
		return e
	}
	if h.Draining() {
		return errorDraining(target)
	}
	return nil
}

// Routes implements forward.Host.
func (h host) Routes(target tunnel.Authority) (first tunnel.Route, others []tunnel.Route) {
	rule := h.ln.server.rule(target)
	return rule.Route, rule.Or
}

// JudgeAddr implements forward.Host.
func (h host) JudgeAddr(target tunnel.Authority) *tunnel.Error { return h.ln.judgeLiteral(target) }

// Dial implements forward.Host.
func (h host) Dial(ctx context.Context, route tunnel.Route, target tunnel.Authority) (net.Conn, *tunnel.Error) {
	if route.Direct() {
		conn, _, full, e := h.ln.dialDirect(ctx, target)
		if e == nil && full != "" {
			return forward.NamedConn{Conn: conn, FullName: full}, nil
		}
		return conn, e
	}
	conn, full, e := h.ln.openVia(ctx, route, target, nil)
	switch {
	case e != nil:
		return nil, e
	case full != "":
		return forward.NamedConn{Conn: conn, FullName: full}, nil
	}
	return conn, nil
}

// DialParent implements forward.Host.
func (h host) DialParent(ctx context.Context, route tunnel.Route) (net.Conn, *tunnel.Error) {
	return h.ln.server.connectParent(ctx, route)
}

// RouteFailed implements forward.Host.
func (h host) RouteFailed(route tunnel.Route, target tunnel.Authority, e *tunnel.Error) {
	h.ln.server.routeFailed(route, target, e)
}

// DialTunnel implements forward.Host.
func (h host) DialTunnel(ctx context.Context, in *forward.Incoming) (relay.Side, *tunnel.Error) {
	target := in.Record.Target
	if e := h.ln.server.takeSlot(in.Client, target); e != nil {
		return relay.Side{}, e
	}
	side, e := h.ln.dial(ctx, target, in.Head.Values("Via"), in.Record)
	if e != nil {
		h.Release(in)
	}
	return side, e
}

// Tunnel implements forward.Host.
func (h host) Tunnel(in *forward.Incoming, client, next relay.Side) {
	h.ln.server.tunnel(in.Record, in.Client, client, next)
}

// Release implements forward.Host.
func (h host) Release(in *forward.Incoming) { h.ln.server.run.slots.release(in.Client) }

// Log implements forward.Host.
func (h host) Log(rec *accesslog.Record) { h.ln.server.logRequest(rec) }

// Draining implements forward.Host.
func (h host) Draining() bool { return h.ln.server.run.draining.Load() }
