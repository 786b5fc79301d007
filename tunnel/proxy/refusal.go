package proxy

import (
	"bytes"
	"cmp"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
)

// Bounds on what is read of a client that still sends after its last reply.
const (
	// drainTime is how long a client is read from that has no content to send, and how
	// long one that has may take to send more of it.
	drainTime = time.Second

	// droppedTime is drainTime for a client that was dropped to make room.
	droppedTime = drainTime / 4

	// uploadPause is how long a client may pause that sends its content. After
	// uploadGrace it must have sent uploadRate bytes a second on average.
	uploadPause = 5 * time.Second
	uploadGrace = 30 * time.Second
	uploadRate  = 16 << 10
)

// refusalReply is the reply that refuses a request, in any protocol version.
type refusalReply struct {
	status int
	fields []wire.Field // without those of the connection
	body   string
}

// newRefusal returns the reply for e. Its content and its Proxy-Status name the
// cause, but never the target or a field of the request.
func (s *Server) newRefusal(e *tunnel.Error) refusalReply {
	status := e.HTTPStatus()
	r := refusalReply{status: status, body: strconv.Itoa(status) + " " + http.StatusText(status) + ": " + e.Cause() + "\n"}
	ps := tunnel.ProxyStatus{Name: s.Pseudonym(), Error: e.Type.String(), RCode: e.RCode, Details: e.Cause()}
	r.fields = []wire.Field{{Name: "Date", Value: time.Now().UTC().Format(http.TimeFormat)}, {Name: "Proxy-Status", Value: ps.String()}}
	if status == http.StatusProxyAuthRequired {
		r.fields = append(r.fields, wire.Field{Name: "Proxy-Authenticate", Value: s.challenge()})
	}
	if e.RetryAfter > 0 {
		r.fields = append(r.fields, wire.Field{Name: "Retry-After", Value: strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds())))})
	}
	r.fields = append(r.fields, wire.Field{Name: "Content-Type", Value: "text/plain; charset=utf-8"}, wire.Field{Name: "Content-Length", Value: strconv.Itoa(len(r.body))})
	return r
}

// writeRefusal writes the reply for e over HTTP/1, without content if headOnly. The
// caller closes the connection after it, whatever the request was (for CONNECT, RFC
// 9931).
func (s *Server) writeRefusal(w io.Writer, e *tunnel.Error, headOnly bool) error {
	r := s.newRefusal(e)
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(r.status) + " " + http.StatusText(r.status) + "\r\n")
	for _, f := range r.fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	if !headOnly {
		b.WriteString(r.body)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// closeAfterReply closes conn so that the client can read the reply first: a close
// with unread bytes would send a reset, which may destroy the reply (RFC 9112,
// section 9.6). Many clients read no reply before they have sent all of their content,
// so if there may be some it is read as long as it makes progress.
func closeAfterReply(conn net.Conn, content bool) { closeAfter(conn, content, drainTime) }

// closeAfter is closeAfterReply for a client that has patience for its first bytes.
func closeAfter(conn net.Conn, content bool, patience time.Duration) {
	defer conn.Close()
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	if content {
		discardContent(conn)
		return
	}
	io.Copy(io.Discard, conn)
}

// discardContent reads what a client sends until it ends or makes no progress. The read
// deadline is that for the first bytes.
func discardContent(conn net.Conn) {
	buf := sock.GetBuffer()
	defer buf.Release()
	begun := time.Now()
	for all := int64(0); ; {
		n, err := conn.Read(buf[:])
		if err != nil {
			return
		}
		all += int64(n)
		until := time.Now().Add(uploadPause)
		if least := begun.Add(uploadGrace + time.Duration(all/uploadRate)*time.Second); least.Before(until) {
			until = least
		}
		conn.SetReadDeadline(until)
	}
}

// refuse replies with an error, logs it, and closes the connection so that the
// client can read the reply. If headOnly is true, the content is left out, as in a
// reply to HEAD.
func (c *clientConn) refuse(rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	c.refuseOn(c.conn, rec, e, headOnly)
}

// refuseOn is refuse on conn, which is c.conn or the socket beneath it.
func (c *clientConn) refuseOn(conn net.Conn, rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	patience := drainTime
	if dropped := c.errorIfDropped(); dropped != nil {
		dropped.Target = e.Target
		e, patience = dropped, droppedTime
	}
	rec.SetError(e)
	timeout := cmp.Or(c.server.HeaderTimeout, DefaultHeaderTimeout)
	if timeout > 0 {
		conn.SetWriteDeadline(time.Now().Add(timeout))
	}
	if err := c.server.writeRefusal(conn, e, headOnly); err != nil {
		rec.Status = 0
	}
	c.server.logRequest(rec)
	closeAfter(conn, c.content, patience)
}
