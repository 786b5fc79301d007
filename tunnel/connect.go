package tunnel

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// connectRequest is a CONNECT request as the spine sees it. Each protocol version has
// an adapter that makes one; newConnectRequest is HTTP/1's.
type connectRequest struct {
	at          *listening
	rec         *Record
	client      netip.Addr
	user        string                    // whom the client's certificate has made it, "" = nobody
	authority   string                    // the request's target, not yet parsed
	malformed   *Error                    // what the adapter found wrong with the request
	credentials []string                  // Proxy-Authorization values
	via         []string                  // Via values, for a parent
	looped      bool                      // our own pseudonym is in Via
	refuse      func(e *Error)            // answers, logs and ends the request
	accept      func() (relaySide, error) // sends the 2xx and gives the client's side away
}

// newConnectRequest adapts a CONNECT over HTTP/1. Bytes behind the head stay in the
// connection's reader until accept: they are the tunnel's if the answer is 2xx
// and nobody's if it is not (RFC 9931).
func newConnectRequest(c *clientConn, head *wire.Request) *connectRequest {
	rec := c.newRecord(head)
	q := &connectRequest{
		at: c.at, rec: rec, client: c.addr, user: c.user, authority: strings.Clone(head.Target),
		credentials: credentials(head), via: head.Values("Via"), looped: c.server.isLoop(head.Values("Via")),
		refuse: func(e *Error) { c.refuse(rec, e, false) },
	}
	q.accept = func() (relaySide, error) {
		if _, err := c.conn.Write([]byte(established)); err != nil {
			return relaySide{}, err
		}
		return c.give(), nil
	}
	q.malformed = checkConnect(head)
	return q
}

// checkConnect applies what RFC 9110, section 9.3.6 and RFC 9112, section 3.2
// ask of a CONNECT head beyond its target. That Host differs from the target
// is no error: the target counts.
func checkConnect(head *wire.Request) *Error {
	if err := head.CheckHost(); err != nil {
		return requestError(err)
	}
	framing, err := head.Framing()
	switch {
	case head.Has("Transfer-Encoding"), err == nil && framing.Length > 0: // a coding that is 501 elsewhere, too
		return &Error{Phase: PhaseRequest, Type: ErrorRequest, Detail: "a CONNECT request has no content"}
	case err != nil:
		return requestError(err)
	}
	return nil
}

// serveConnect is the spine: every CONNECT, of whatever protocol version, goes
// through these stages in this order. It ends by giving both conns to the
// relay, or with an answer that says why not.
func (s *Server) serveConnect(q *connectRequest) {
	target, e := q.target()
	if e != nil {
		q.refuse(e)
		return
	}
	q.rec.Target = target
	if e := q.at.judge(asked{target, q.client, q.user, q.credentials, q.looped}, q.rec); e != nil {
		q.refuse(e)
		return
	}
	if e := s.admit(q.client, target); e != nil {
		q.refuse(e)
		return
	}
	next, e := s.reach(s.run.ctx, q, target)
	if e != nil {
		s.run.slots.release(q.client)
		q.refuse(e)
		return
	}
	client, err := q.accept()
	if err != nil {
		next.conn.Close()
		s.run.slots.release(q.client)
		s.clientLeft(q.rec, err)
		return
	}
	q.rec.Status = http.StatusOK
	s.tunnel(q, client, next)
}

// target parses what is asked for, and refuses what is malformed.
func (q *connectRequest) target() (Authority, *Error) {
	if q.malformed != nil {
		return Authority{}, q.malformed
	}
	target, err := ParseAuthority(q.authority)
	if err != nil {
		return Authority{}, &Error{Phase: PhaseRequest, Type: ErrorRequest, Detail: err.Error()}
	}
	return target, nil
}

func (s *Server) connectTimeout() time.Duration {
	return max(0, orDefault(s.ConnectTimeout, DefaultConnectTimeout))
}

// tunnel logs the opening, starts the relay, and logs the close.
func (s *Server) tunnel(q *connectRequest, client, next relaySide) {
	// Not q: it holds on to the head, and that for as long as the tunnel lives.
	rec, from := q.rec, q.client
	rec.log(s.AccessLog, eventOpen)
	s.relay(client, next, func(result relayResult) {
		rec.endTunnel(result)
		s.run.slots.release(from)
		rec.log(s.AccessLog, eventClose)
	})
}

// clientLeft logs a client that was gone before its answer.
func (s *Server) clientLeft(rec *Record, err error) {
	rec.Error, rec.ClosedBy = ErrorConnectionTerminated, ClosedByClient
	if neterr.Timeout(err) {
		rec.Error = ErrorConnectionReadTimeout
	}
	rec.Duration = time.Since(rec.Start)
	rec.log(s.AccessLog, eventRequest)
}
