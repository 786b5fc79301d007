package proxy

import (
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/forward"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// newConnectRequest adapts a CONNECT over HTTP/1. Bytes behind the head stay in
// the connection's reader until Accept: they are the tunnel's if the answer is
// 2xx and nobody's if it is not (RFC 9931).
func newConnectRequest(c *clientConn, head *wire.Request) *Request {
	rec := c.newRecord(head.Method, protocolName(head.Minor))
	return &Request{
		Authority: strings.Clone(head.Target), Malformed: checkConnect(head), // a clone, for the record outlives the head
		Client: c.addr, User: c.user, Credentials: head.Values("Proxy-Authorization"), Via: head.Values("Via"), Record: rec,
		Refuse: func(e *tunnel.Error) { c.refuse(rec, e, false) },
		Accept: func() (relay.Side, error) {
			if _, err := c.conn.Write([]byte(established)); err != nil {
				return relay.Side{}, err
			}
			return c.give(), nil
		},
	}
}

// checkConnect applies what RFC 9110, section 9.3.6 and RFC 9112, section 3.2
// ask of a CONNECT head beyond its target. That Host differs from the target
// is no error: the target counts.
func checkConnect(head *wire.Request) *tunnel.Error {
	if err := head.CheckHost(); err != nil {
		return forward.RequestError(err)
	}
	framing, err := head.Framing()
	switch {
	case head.Has("Transfer-Encoding"), err == nil && framing.Length > 0: // a coding that is 501 elsewhere, too
		return connectHasContent()
	case err != nil:
		return forward.RequestError(err)
	}
	return nil
}

func connectHasContent() *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Detail: "a CONNECT request has no content"}
}

// serveForward serves one request that is no CONNECT, and reports whether the
// connection is good for a further one.
func (c *clientConn) serveForward(head *wire.Request) bool {
	if c.plain == nil {
		c.plain = c.at.forward.NewExchanges(c.server.run.ctx, c.conn, &http1Wire{forward.HTTP1{Conn: c.conn, Reader: c.br}, c})
	}
	rec := c.newRecord(head.Method, protocolName(head.Minor))
	next := c.plain.Serve(forward.Incoming{Head: head, Client: c.addr, User: c.user, Record: rec})
	c.unread = next == forward.NextDrain
	return next == forward.NextRequest
}

// http1Wire is the Wire of a client connection that speaks HTTP/1.
type http1Wire struct {
	forward.HTTP1
	c *clientConn
}

func (w *http1Wire) Give() relay.Side { return w.c.give() }

func (w *http1Wire) Refuse(rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	w.c.refuse(rec, e, headOnly)
}

// protocolName is a record's protocol for an HTTP/1 minor version.
func protocolName(minor int) string {
	if minor == 0 {
		return "http/1.0"
	}
	return "http/1.1"
}
