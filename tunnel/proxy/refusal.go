package proxy

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/wire"
)

// Bounds on the wait for a refused client to read its answer.
const (
	drainTime  = time.Second
	drainBytes = 256 << 10
)

// refusalReply is the answer that refuses a request, in any protocol version.
type refusalReply struct {
	status int
	fields []wire.Field // without any that concerns the connection
	body   string
}

// newRefusal returns the answer for e. Body and Proxy-Status name the cause, never
// the target or a field.
func (s *Server) newRefusal(e *tunnel.Error) refusalReply {
	status := e.HTTPStatus()
	r := refusalReply{status: status, body: strconv.Itoa(status) + " " + http.StatusText(status) + ": " + e.Cause() + "\n"}
	ps := tunnel.ProxyStatus{Name: s.Pseudonym(), Error: e.Type.String(), RCode: e.RCode, Details: e.Cause()}
	r.fields = []wire.Field{{Name: "Date", Value: time.Now().UTC().Format(http.TimeFormat)}, {Name: "Proxy-Status", Value: ps.String()}}
	if status == http.StatusProxyAuthRequired {
		r.fields = append(r.fields, wire.Field{Name: "Proxy-Authenticate", Value: s.challenge()})
	}
	r.fields = append(r.fields, wire.Field{Name: "Content-Type", Value: "text/plain; charset=utf-8"}, wire.Field{Name: "Content-Length", Value: strconv.Itoa(len(r.body))})
	return r
}

// writeRefusal writes the answer for e over HTTP/1. The connection is to be closed
// after it, whatever the request was (RFC 9931 for CONNECT).
func (s *Server) writeRefusal(w io.Writer, e *tunnel.Error, head bool) error {
	r := s.newRefusal(e)
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(r.status) + " " + http.StatusText(r.status) + "\r\n")
	for _, f := range r.fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	if !head {
		b.WriteString(r.body)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// closeAfterReply closes conn so that the client can read the answer first: a close
// while there are unread bytes would send a reset, which may destroy the answer
// (RFC 9112, section 9.6).
func closeAfterReply(conn net.Conn) {
	defer conn.Close()
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(drainTime))
	io.CopyN(io.Discard, conn, drainBytes)
}

// refuse answers with an error, logs it, and closes the connection so that the
// client can read the answer. headOnly leaves the body out, as a reply to HEAD
// must.
func (c *clientConn) refuse(rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	c.refuseOn(c.conn, rec, e, headOnly)
}

// refuseOn is refuse on conn, which is c.conn or the socket beneath it.
func (c *clientConn) refuseOn(conn net.Conn, rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	rec.SetError(e)
	timeout := cmp.Or(c.server.HeaderTimeout, DefaultHeaderTimeout)
	if timeout > 0 {
		conn.SetWriteDeadline(time.Now().Add(timeout))
	}
	if err := c.server.writeRefusal(conn, e, headOnly); err != nil {
		rec.Status = 0
	}
	c.server.logRequest(rec)
	closeAfterReply(conn)
}
