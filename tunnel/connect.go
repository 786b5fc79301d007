package tunnel

import (
	"net/http"
	"net/netip"
	"time"
)

// Request is a CONNECT request as the spine sees it, whichever protocol version
// it came in. Each version has an adapter that makes one: newConnectRequest is
// HTTP/1's, newStreamRequest HTTP/2's, handlerWire.connectRequest net/http's.
type Request struct {
	Authority string // the request target, not yet parsed
	Malformed *Error // what the adapter found wrong with the request; nil = nothing

	Client      netip.Addr // invalid on a unix socket
	User        string     // whom the client's certificate has made it, "" = nobody
	Credentials []string   // Proxy-Authorization values
	Via         []string   // Via values

	// Record is begun by the adapter, and filled in by each stage.
	Record *Record

	// Refuse answers with the error, logs the record, and ends the request.
	Refuse func(*Error)

	// Accept sends the 2xx and gives the client's side away: the caller closes
	// it. After an error there is nothing left to close.
	Accept func() (relaySide, error)
}

// serveConnect is the spine: every CONNECT, of whatever protocol version, goes
// through these stages in this order. It ends by giving both conns to the
// relay, or with an answer that says why not.
func (at *listening) serveConnect(q *Request) {
	s := at.server
	target, e := q.target()
	if e != nil {
		q.Refuse(e)
		return
	}
	q.Record.Target = target
	if e := at.judge(asked{target, q.Client, q.User, q.Credentials, q.Via}, q.Record); e != nil {
		q.Refuse(e)
		return
	}
	if e := s.admit(q.Client, target); e != nil {
		q.Refuse(e)
		return
	}
	next, e := at.reach(s.run.ctx, target, q.Via, q.Record)
	if e != nil {
		s.run.slots.release(q.Client)
		q.Refuse(e)
		return
	}
	client, err := q.Accept()
	if err != nil {
		next.conn.Close()
		s.run.slots.release(q.Client)
		q.Record.ClientLeft(err)
		s.logRequest(q.Record)
		return
	}
	q.Record.Status = http.StatusOK
	s.tunnel(q.Record, q.Client, client, next)
}

// target parses what is asked for, and refuses what is malformed.
func (q *Request) target() (Authority, *Error) {
	if q.Malformed != nil {
		return Authority{}, q.Malformed
	}
	target, err := ParseAuthority(q.Authority)
	if err != nil {
		return Authority{}, &Error{Phase: PhaseRequest, Type: ErrorRequest, Detail: err.Error()}
	}
	return target, nil
}

// tunnel logs the opening, starts the relay, and logs the close. The slot that
// from holds is released then. It is not given the Request, which would hold on
// to the head for as long as the tunnel lives.
func (s *Server) tunnel(rec *Record, from netip.Addr, client, next relaySide) {
	rec.log(s.AccessLog, eventOpen)
	s.relay(client, next, func(result relayResult) {
		rec.endTunnel(result)
		s.run.slots.release(from)
		rec.log(s.AccessLog, eventClose)
	})
}

// logRequest logs a request that never became a tunnel.
func (s *Server) logRequest(rec *Record) {
	rec.Duration = time.Since(rec.Start)
	rec.log(s.AccessLog, eventRequest)
}
