package proxy

import (
	"net/http"
	"net/netip"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/relay"
)

// connectRequest is a CONNECT request as the spine sees it, whichever protocol
// version it came in. Each version has an adapter that makes one: newHTTP1Connect,
// newHTTP2Connect, and for a net/http server handlerWire.newConnect.
//
// An adapter in a package of its own would need this type exported, and a method of
// Server that does for it what ServeHTTP does for net/http: check the client, count
// the request as active, begin the Record, and call serveConnect.
type connectRequest struct {
	Authority string        // the request target, not parsed yet
	Malformed *tunnel.Error // why the adapter finds the request malformed; nil = it does not

	Client      netip.Addr     // invalid on a unix socket
	Holds       *quota.Request // what the request holds
	User        string         // by the client's certificate; "" = none
	Credentials []string       // Proxy-Authorization values
	Via         []string       // Via values
	Weight      int            // the memory in bytes that the request holds
	Watch       watcher        // of the client; nil = it cannot be watched

	// Record is begun by the adapter, and each stage adds to it.
	Record *accesslog.Record

	// Refuse answers with the error, logs the record, and ends the request.
	Refuse func(*tunnel.Error)

	// Accept sends the 2xx and returns the client's side, which the caller closes.
	// After an error there is nothing to close.
	Accept func() (relay.Side, error)
}

// serveConnect is the spine: every CONNECT, in any protocol version, passes these
// stages in this order. In the end both conns are the relay's, or the client was
// told why not.
func (ln *listener) serveConnect(q *connectRequest) {
	s := ln.server
	target, e := q.target()
	if e != nil {
		q.Refuse(e)
		return
	}
	q.Record.Target = target
	info := requestInfo{target, q.Client, q.Holds, q.User, q.Credentials, q.Via, q.Weight, q.Watch}
	if e := ln.check(info, q.Record); e != nil {
		q.Refuse(e)
		return
	}
	if e := s.openTunnel(q.Holds, target); e != nil {
		q.Refuse(e)
		return
	}
	held := true // what the request holds, by this function
	defer func() {
		if held {
			q.Holds.End()
		}
	}()
	ctx, stop := info.whileThere(s.run.ctx)
	next, e := ln.dial(ctx, target, q.Holds, q.Via, q.Record)
	stop()
	if e != nil {
		held = false
		q.Holds.End()
		q.Refuse(e)
		return
	}
	client, err := q.Accept()
	if err != nil {
		next.Conn.Close()
		q.Record.SetClientGone(err)
		s.logRequest(q.Record)
		return
	}
	q.Record.Status, held = http.StatusOK, false
	s.tunnel(q.Record, q.Holds, client, next)
}

// target returns the parsed target, or why the request is malformed.
func (q *connectRequest) target() (tunnel.Authority, *tunnel.Error) {
	if q.Malformed != nil {
		return tunnel.Authority{}, q.Malformed
	}
	target, err := tunnel.ParseAuthority(q.Authority)
	if err != nil {
		return tunnel.Authority{}, &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Detail: err.Error()}
	}
	return target, nil
}
