package tunnel

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"
)

// plainConn is what the plain requests of one client connection share, so that
// it is made once and not for each. They follow each other: one at a time is
// under way. The zero plainConn is ready.
type plainConn struct {
	own    map[*http.Transport]*http.Transport // in place of the shared ones; nil = none
	ctx    context.Context                     // of the requests, with hooks; nil = to be made
	cancel context.CancelFunc
	hooks  *traceHooks
	watch  clientWatch
	last   writtenTarget
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
func (c *clientConn) begin(x *plainExchange) context.Context {
	p := &c.plain
	if p.hooks != nil && p.hooks.got > 1 {
		// A connection that failed x's forerunner may still call its hooks:
		// they are not x's.
		p.close()
	}
	if p.ctx == nil {
		ctx, cancel := context.WithCancel(c.server.run.ctx)
		p.hooks = &traceHooks{}
		p.ctx, p.cancel = httptrace.WithClientTrace(ctx, p.hooks.trace()), cancel
	}
	p.hooks.x, p.hooks.got = x, 0
	return p.ctx
}

// close lets go of the context.
func (p *plainConn) close() {
	if p.cancel != nil {
		p.cancel()
	}
	p.ctx, p.cancel, p.hooks = nil, nil, nil
}

// closeOwn ends what the connection's plain requests shared: the connections
// that were this client's alone among it.
func (c *clientConn) closeOwn() {
	c.plain.watch.close()
	c.plain.close()
	for _, t := range c.plain.own {
		t.CloseIdleConnections()
	}
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
	x.rec.Connect, x.reused, x.stale = time.Since(x.started), info.Reused, false
	conn, ok := info.Conn.(*upstreamConn)
	if !ok {
		x.rec.Addr = info.Conn.RemoteAddr().String()
		return
	}
	x.rec.Addr, x.upstream = conn.addr, conn
	conn.carry(x)
	if x.reused && !x.repeatable && hasEnded(conn.Conn) {
		x.stale = true
		conn.Close()
	}
}
