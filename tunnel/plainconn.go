package tunnel

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"
)

// Exchanges are the requests of one client connection, and what they share: it is
// made once, not for each. One at a time is under way.
type Exchanges struct {
	forwarder *Forwarder
	ctx       context.Context // ends when everything must
	conn      net.Conn
	wire      Wire

	own      map[*http.Transport]*http.Transport // in place of the shared ones; nil = none
	requests context.Context                     // of the requests, with hooks; nil = to be made
	cancel   context.CancelFunc                  // ends requests
	hooks    *traceHooks
	watch    clientWatch
	last     writtenTarget
}

// NewExchanges returns the exchanges of a client connection, which end with ctx
// at the latest. Conn is what w writes to: its deadlines end a wait for the
// client. It stays the caller's, unless Wire.Give gives it away. The caller
// closes the Exchanges.
func (f *Forwarder) NewExchanges(ctx context.Context, conn net.Conn, w Wire) *Exchanges {
	return &Exchanges{forwarder: f, ctx: ctx, conn: conn, wire: w}
}

// Close ends what the requests shared: among it the connections to origins that
// were this client's alone.
func (es *Exchanges) Close() {
	es.watch.close()
	es.endRequests()
	for _, t := range es.own {
		t.CloseIdleConnections()
	}
}

// writtenTarget is a target in the forms that requests need, which seldom
// change on one connection.
type writtenTarget struct {
	target          Authority
	text, hostField string
}

func (w *writtenTarget) set(target Authority) {
	if w.target != target {
		*w = writtenTarget{target, target.String(), target.hostHeader(80)}
	}
}

// begin is the context of x, which ends with the connection. Once it was
// cancelled there are no further requests.
func (es *Exchanges) begin(x *plainExchange) context.Context {
	if es.hooks != nil && es.hooks.got > 1 {
		// A connection that failed the request before x may still call its
		// hooks: they are not x's.
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

// endRequests lets go of the context.
func (es *Exchanges) endRequests() {
	if es.cancel != nil {
		es.cancel()
	}
	es.requests, es.cancel, es.hooks = nil, nil, nil
}

// traceHooks tell the request under way what becomes of it in the transport.
type traceHooks struct {
	x   *plainExchange
	got int // connections that x was given
}

// trace learns the address, relays interim replies, and tells the connection
// when it carries a request and when no longer.
func (h *traceHooks) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			h.got++
			h.x.gotConn(info)
		},
		PutIdleConn: func(error) { // the reply has come whole
			h.x.pending.lend(nil)
			h.x.upstream.drop(h.x)
		},
		GotFirstResponseByte: func() { h.x.interim.begin() },
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			h.x.interim.pass(code, header)
			return nil
		},
	}
}

// gotConn notes the connection that the request is about to go out on.
func (x *plainExchange) gotConn(info httptrace.GotConnInfo) {
	x.Record.Connect, x.reused, x.stale = time.Since(x.started), info.Reused, false
	conn, ok := info.Conn.(*upstreamConn)
	if !ok {
		x.Record.Addr = info.Conn.RemoteAddr().String()
		return
	}
	x.Record.Addr, x.upstream = conn.addr, conn
	conn.carry(x)
	if x.reused && !x.repeatable && hasEnded(conn.Conn) {
		x.stale = true
		conn.Close()
	}
}
