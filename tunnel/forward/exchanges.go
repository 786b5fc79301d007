package forward

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"
)

// Exchanges serves the requests of one client connection, one after the other. It
// holds what they share, so that it is made once and not for each.
type Exchanges struct {
	forwarder *Forwarder
	ctx       context.Context // ends when everything must
	conn      net.Conn
	wire      Wire

	own      map[*http.Transport]*http.Transport // instead of the shared ones; nil = none
	requests context.Context                     // of all requests, with hooks; nil = not made yet
	cancel   context.CancelFunc                  // ends requests
	hooks    *traceHooks
	watch    clientWatch
	last     writtenTarget
}

// NewExchanges returns the Exchanges of a client connection. When ctx ends, so
// does the exchange under way. Conn is what w reads and writes; its deadlines
// interrupt both. It stays the caller's, unless Wire.Give gives it away. The
// caller closes the Exchanges, after Serve has returned.
func (f *Forwarder) NewExchanges(ctx context.Context, conn net.Conn, w Wire) *Exchanges {
	return &Exchanges{forwarder: f, ctx: ctx, conn: conn, wire: w}
}

// Close releases what the requests shared, and closes the connections to origins
// that were this client's alone.
func (es *Exchanges) Close() {
	es.watch.close()
	es.endRequests()
	for _, t := range es.own {
		t.CloseIdleConnections()
	}
}

// writtenTarget is a target in the forms that a request needs. The target seldom
// changes from one request of a connection to the next.
type writtenTarget struct {
	target          tunnel.Authority
	text, hostField string
}

func (w *writtenTarget) set(target tunnel.Authority) {
	if w.target != target {
		*w = writtenTarget{target, target.String(), target.HostHeader(80)}
	}
}

// begin returns the context of x, which the requests of a connection share: once
// it was cancelled there are no further ones.
func (es *Exchanges) begin(x *exchange) context.Context {
	if es.hooks != nil && es.hooks.got > 1 {
		// A connection on which the request before x failed may still call the
		// hooks.
		es.endRequests()
	}
	if es.requests == nil {
		ctx, cancel := context.WithCancel(es.ctx)
		es.hooks = &traceHooks{}
		es.requests, es.cancel = httptrace.WithClientTrace(ctx, es.hooks.trace()), cancel
	}
	es.hooks.x, es.hooks.got = x, 0
	return es.requests
}

// endRequests releases the context.
func (es *Exchanges) endRequests() {
	if es.cancel != nil {
		es.cancel()
	}
	es.requests, es.cancel, es.hooks = nil, nil, nil
}

// traceHooks reports what the transport does with the request under way.
type traceHooks struct {
	x   *exchange
	got int // connections that x was given
}

// trace returns hooks that note the address, pass on interim replies, and keep
// track of which request a connection carries.
func (h *traceHooks) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			h.got++
			h.x.gotConn(info)
		},
		PutIdleConn: func(error) { // the whole reply has arrived
			h.x.pending.lend(nil)
			h.x.upstream.drop(h.x)
		},
		GotFirstResponseByte: func() { h.x.interim.beginHead() },
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			h.x.interim.pass(code, header)
			return nil
		},
	}
}

// gotConn notes the connection that the request is about to go out on.
func (x *exchange) gotConn(info httptrace.GotConnInfo) {
	x.Record.Connect, x.reused, x.stale = time.Since(x.started), info.Reused, false
	conn, ok := info.Conn.(*upstreamConn)
	if !ok {
		x.Record.Addr = info.Conn.RemoteAddr().String()
		return
	}
	x.Record.Addr, x.upstream = conn.addr, conn
	conn.carry(x)
	if x.reused && !x.repeatable && sock.HasEnded(conn.socket()) {
		x.stale = true
		conn.Close()
	}
}
