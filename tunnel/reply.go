package tunnel

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// established is the only 2xx culvert answers a CONNECT with: no framing
// fields, and the blank line is the last HTTP byte (RFC 9110, section 9.3.6).
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// Bounds on the wait for a refused client to read its answer.
const (
	drainTime  = time.Second
	drainBytes = 256 << 10
)

// writeRefusal is the one writer of error answers. The body and Proxy-Status
// name the cause, never the target or a field; the connection is closed after
// it, whatever was asked (RFC 9931 for CONNECT).
func (s *Server) writeRefusal(w io.Writer, e *Error, head bool) error {
	status := e.HTTPStatus()
	reason := http.StatusText(status)
	body := strconv.Itoa(status) + " " + reason + ": " + e.cause() + "\n"
	ps := ProxyStatus{Name: s.pseudonym(), Error: e.Type.String(), RCode: e.RCode, Details: e.cause()}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + reason + "\r\n")
	b.WriteString("Date: " + time.Now().UTC().Format(http.TimeFormat) + "\r\n")
	b.WriteString("Proxy-Status: " + ps.String() + "\r\n")
	if status == http.StatusProxyAuthRequired {
		b.WriteString("Proxy-Authenticate: " + s.challenge() + "\r\n")
	}
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nConnection: close\r\n\r\n")
	if !head {
		b.WriteString(body)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// closeAfterReply closes conn so that the client can read what was written: a
// close with unread bytes behind it would send a reset over the answer (RFC
// 9112, section 9.6).
func closeAfterReply(conn net.Conn) {
	defer conn.Close()
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(drainTime))
	io.CopyN(io.Discard, conn, drainBytes)
}
