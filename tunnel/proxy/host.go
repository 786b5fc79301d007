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

// Check implements forward.Host.
func (h host) Check(in *forward.Incoming) *tunnel.Error {
	target := in.Record.Target
	a := requestInfo{target, in.Client, &in.Holds, in.User, in.Head.Values("Proxy-Authorization"), in.Head.Values("Via"), weightOf(in.Head), in.Watch}
	if e := h.ln.check(a, in.Record); e != nil {
		return e
	}
	if h.Draining() {
		return errorDraining(target)
	}
	if err := in.Holds.Begin(); err != nil {
		return limitError(err, target)
	}
	return nil
}

// LimitError implements forward.Host.
func (h host) LimitError(err error) *tunnel.Error { return limitError(err, tunnel.Authority{}) }

// Routes implements forward.Host.
func (h host) Routes(target tunnel.Authority) (first tunnel.Route, others []tunnel.Route) {
	rule := h.ln.server.rule(target)
	return rule.Route, rule.Or
}

// JudgeAddr implements forward.Host.
func (h host) JudgeAddr(target tunnel.Authority) *tunnel.Error { return h.ln.judgeLiteral(target) }

// Dial implements forward.Host.
func (h host) Dial(ctx context.Context, in *forward.Incoming, route tunnel.Route) (conn net.Conn, e *tunnel.Error) {
	var full string
	target := in.Record.Target
	ctx, stop := requestInfo{watch: in.Watch}.whileThere(ctx)
	defer stop()
	if route.Direct() {
		conn, _, full, e = h.ln.dialDirect(ctx, target, &in.Holds)
	} else {
		conn, full, e = h.ln.openVia(ctx, route, target, &in.Holds, nil)
	}
	switch {
	case e != nil:
		return nil, errorOfDial(ctx, e)
	case full != "":
		return forward.NamedConn{Conn: conn, FullName: full}, nil
	}
	return conn, nil
}

// DialParent implements forward.Host.
func (h host) DialParent(ctx context.Context, in *forward.Incoming, route tunnel.Route) (net.Conn, *tunnel.Error) {
	ctx, stop := requestInfo{watch: in.Watch}.whileThere(ctx)
	defer stop()
	conn, e := h.ln.server.connectParent(ctx, route)
	if e != nil {
		return nil, errorOfDial(ctx, e)
	}
	return conn, nil
}

// RouteFailed implements forward.Host.
func (h host) RouteFailed(route tunnel.Route, target tunnel.Authority, e *tunnel.Error) {
	h.ln.server.routeFailed(route, target, e)
}

// DialTunnel implements forward.Host.
func (h host) DialTunnel(ctx context.Context, in *forward.Incoming) (relay.Side, *tunnel.Error) {
	target := in.Record.Target
	if e := h.ln.server.openTunnel(&in.Holds, target); e != nil {
		return relay.Side{}, e
	}
	ctx, stop := requestInfo{watch: in.Watch}.whileThere(ctx)
	defer stop()
	return h.ln.dial(ctx, target, &in.Holds, in.Head.Values("Via"), in.Record)
}

// Tunnel implements forward.Host.
func (h host) Tunnel(in *forward.Incoming, client, next relay.Side) {
	h.ln.server.tunnel(in.Record, &in.Holds, client, next)
}

// Log implements forward.Host.
func (h host) Log(rec *accesslog.Record) { h.ln.server.logRequest(rec) }

// Draining implements forward.Host.
func (h host) Draining() bool { return h.ln.server.run.draining.Load() }
