package proxy

import (
	"net/http"
	"net/netip"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/relay"
)

// Request is a CONNECT request as the spine sees it, whichever protocol version
// it came in. Each version has an adapter that makes one: newConnectRequest is
// HTTP/1's, newStreamRequest HTTP/2's, handlerWire.connectRequest net/http's.
type connectRequest struct {
	Authority string        // the request target, not yet parsed
	Malformed *tunnel.Error // what the adapter found wrong with the request; nil = nothing

	Client      netip.Addr // invalid on a unix socket
	User        string     // whom the client's certificate has made it, "" = nobody
	Credentials []string   // Proxy-Authorization values
	Via         []string   // Via values

	// Record is begun by the adapter, and filled in by each stage.
	Record *accesslog.Record

	// Refuse answers with the error, logs the record, and ends the request.
	Refuse func(*tunnel.Error)

	// Accept sends the 2xx and gives the client's side away: the caller closes
	// it. After an error there is nothing left to close.
	Accept func() (relay.Side, error)
}

// serveConnect is the spine: every CONNECT, of whatever protocol version, goes
// through these stages in this order. It ends by giving both conns to the
// relay, or with an answer that says why not.
func (ln *listener) serveConnect(q *connectRequest) {
	s := ln.server
	target, e := q.target()
	if e != nil {
		q.Refuse(e)
		return
	}
	q.Record.Target = target
	if e := ln.check(requestInfo{target, q.Client, q.User, q.Credentials, q.Via}, q.Record); e != nil {
		q.Refuse(e)
		return
	}
	if e := s.takeSlot(q.Client, target); e != nil {
		q.Refuse(e)
		return
	}
	next, e := ln.dial(s.run.ctx, target, q.Via, q.Record)
	if e != nil {
		s.run.slots.release(q.Client)
		q.Refuse(e)
		return
	}
	client, err := q.Accept()
	if err != nil {
		next.Conn.Close()
		s.run.slots.release(q.Client)
		q.Record.SetClientGone(err)
		s.logRequest(q.Record)
		return
	}
	q.Record.Status = http.StatusOK
	s.tunnel(q.Record, q.Client, client, next)
}

// target parses what is asked for, and refuses what is malformed.
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
