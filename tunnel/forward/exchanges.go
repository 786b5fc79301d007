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

// Exchanges serves the requests of one client connection, one after the other, and
// holds what they share.
type Exchanges struct {
	forwarder *Forwarder
	ctx       context.Context // done when everything must end
	conn      net.Conn
	wire      Wire

	own      map[*http.Transport]*http.Transport // by the shared one that each replaces; nil = none
	requests context.Context                     // of all requests, with hooks; nil before the first
	cancel   context.CancelFunc                  // ends requests
	hooks    *traceHooks
	watch    clientWatch
	last     writtenTarget
}

// NewExchanges returns the Exchanges of a client connection. When ctx ends, the
// exchange under way ends too. The wire w reads and writes conn, whose deadlines
// interrupt both. The caller owns conn, unless Wire.Give gives it away, and closes the
// Exchanges after Serve has returned.
func (f *Forwarder) NewExchanges(ctx context.Context, conn net.Conn, w Wire) *Exchanges {
	return &Exchanges{forwarder: f, ctx: ctx, conn: conn, wire: w}
}

// Close releases what the requests shared, and closes idle connections to origins that
// served this client only.
func (es *Exchanges) Close() {
	es.watch.close()
	es.endRequests()
	for _, t := range es.own {
		t.CloseIdleConnections()
	}
}

// writtenTarget is a target as requests have it written. The target seldom changes from
// one request of a connection to the next.
type writtenTarget struct {
	target          tunnel.Authority
	text, hostField string
}

func (w *writtenTarget) set(target tunnel.Authority) {
	if w.target != target {
		*w = writtenTarget{target, target.String(), target.HostHeader(80)}
	}
}

// begin returns the context for x. The requests of a connection share it: after it was
// cancelled there are no further requests.
func (es *Exchanges) begin(x *exchange) context.Context {
	if es.hooks != nil && es.hooks.got > 1 {
		// The request before x was tried on several connections, and one of them may
		// still call the hooks.
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

// endRequests cancels and releases the context.
func (es *Exchanges) endRequests() {
	if es.cancel != nil {
		es.cancel()
	}
	es.requests, es.cancel, es.hooks = nil, nil, nil
}

// traceHooks follows the request under way through the transport.
type traceHooks struct {
	x   *exchange
	got int // number of connections that x was given
}

// trace returns hooks that note the address, pass on interim replies, and set which
// request a connection carries.
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

// gotConn notes the connection on which the request will be sent.
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
