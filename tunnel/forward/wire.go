package forward

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// Wire is the client's side of exchanges, in the client's protocol version. For each
// reply Head, Content and End are called in this order, Content only if the reply may
// have some; Interim before them, perhaps from another goroutine.
type Wire interface {
	// Body returns a request's content, nil if there is none; its trailer, which is
	// complete once the content was read to io.EOF, nil if there can be none; and the
	// content's length in bytes, -1 if it is not known. The values of the
	// request's Trailer field are in announced.
	Body(framing wire.Framing, announced []string) (content io.Reader, trailer http.Header, length int64, err error)

	// Interim sends an interim reply (1xx). It returns no error, since the final reply
	// will fail too.
	Interim(code int, fields http.Header)

	// Head writes a reply's head. It may write to bw, and need not flush.
	Head(bw *bufio.Writer, h *ReplyHead) error

	// Content returns the writer of a reply's content, which writes to bw.
	Content(bw *bufio.Writer, h *ReplyHead) io.Writer

	// End ends the content, writes the reply's trailer, and flushes.
	End(bw *bufio.Writer, h *ReplyHead, content io.Writer) error

	// BreakOff makes sure that the client does not take an incomplete reply for a
	// whole one. If untilClose is true, the reply's end is the connection's end.
	BreakOff(untilClose bool)

	// Switch replies that the protocol changes to those named. Give then gives the
	// client's side to the caller, who closes it.
	Switch(reply *http.Response, protocols string) error
	Give() relay.Side

	// Refuse replies with an error, logs it, and ends the exchange. If
	// headOnly is true, the content is left out, as in a reply to HEAD.
	Refuse(rec *accesslog.Record, e *tunnel.Error, headOnly bool)

	// Await waits: it returns nil when the client sends more, io.EOF when it has ended
	// its side, and another error when it has left. Wake makes Await return. Settle is
	// called after that, and makes reading possible again.
	Await() error
	Wake()
	Settle()
}

// ReplyHead is a reply's head on its way to the client.
type ReplyHead struct {
	*http.Response
	Length  string // value of Content-Length; "" = none
	Content bool   // the reply may have content
	Chunked bool   // over HTTP/1: in chunks, since the length is not known
	Keep    bool   // over HTTP/1: the connection is kept
}

// HTTP1 implements Wire for HTTP/1, except Give and Refuse: a Wire embeds it and adds
// those.
type HTTP1 struct {
	Conn   net.Conn
	Reader *bufio.Reader // over Conn, behind the request's head
}

// Body implements Wire.
func (w *HTTP1) Body(framing wire.Framing, announced []string) (io.Reader, http.Header, int64, error) {
	if framing.Length <= 0 && !framing.Chunked {
		return nil, nil, 0, nil
	}
	body, err := wire.NewBody(w.Reader, framing, announced)
	if err != nil {
		return nil, nil, 0, err
	}
	cleanTrailer(body.Trailer)
	return body, body.Trailer, framing.Length, nil
}

// Interim implements Wire.
func (w *HTTP1) Interim(code int, fields http.Header) {
	bw := bufio.NewWriter(w.Conn)
	writeStatusLine(bw, code, http.StatusText(code))
	fields.Write(bw)
	bw.WriteString("\r\n")
	bw.Flush()
}

// Head implements Wire.
func (w *HTTP1) Head(bw *bufio.Writer, h *ReplyHead) error {
	writeStatusLine(bw, h.StatusCode, reasonOf(h.Response))
	h.Header.Write(bw)
	writeFraming(bw, h)
	return nil
}

// Content implements Wire.
func (w *HTTP1) Content(bw *bufio.Writer, h *ReplyHead) io.Writer {
	if h.Chunked {
		return httputil.NewChunkedWriter(bw)
	}
	return bw
}

// End implements Wire.
func (w *HTTP1) End(bw *bufio.Writer, h *ReplyHead, content io.Writer) error {
	if chunks, ok := content.(io.Closer); ok && h.Chunked {
		chunks.Close()
		h.Trailer.Write(bw)
		bw.WriteString("\r\n")
	}
	return bw.Flush()
}

// BreakOff implements Wire. It resets a connection whose orderly end would mean that the
// reply is complete.
func (w *HTTP1) BreakOff(untilClose bool) {
	if tcp := sock.TCPOf(w.Conn); tcp != nil && untilClose {
		_ = tcp.SetLinger(0)
		if net.Conn(tcp) != w.Conn { // TLS: its close_notify would be an orderly end
			_ = tcp.Close()
		}
	}
}

// Switch implements Wire.
func (w *HTTP1) Switch(reply *http.Response, protocols string) error {
	return WriteSwitch(w.Conn, reply, protocols)
}

// WriteSwitch writes an HTTP/1 reply with status 101, which changes to the protocols
// named (RFC 9110, section 7.8).
func WriteSwitch(w io.Writer, reply *http.Response, protocols string) error {
	bw := bufio.NewWriter(w)
	writeStatusLine(bw, reply.StatusCode, reasonOf(reply))
	bw.WriteString("Connection: Upgrade\r\nUpgrade: " + protocols + "\r\n")
	reply.Header.Write(bw)
	bw.WriteString("\r\n")
	return bw.Flush()
}

// Await implements Wire.
func (w *HTTP1) Await() error {
	_, err := w.Reader.Peek(1)
	return err
}

// Wake implements Wire.
func (w *HTTP1) Wake() { w.Conn.SetReadDeadline(sock.Past) }

// Settle implements Wire.
func (w *HTTP1) Settle() { w.Conn.SetReadDeadline(time.Time{}) }

func writeStatusLine(bw *bufio.Writer, code int, reason string) {
	bw.WriteString("HTTP/1.1 ")
	bw.Write(strconv.AppendInt(bw.AvailableBuffer(), int64(code), 10))
	bw.WriteByte(' ')
	bw.WriteString(reason)
	bw.WriteString("\r\n")
}

// reasonOf returns the reply's own reason phrase, which may be empty, or the usual one if
// a status line must not have it (RFC 9112, section 4).
func reasonOf(reply *http.Response) string {
	_, reason, _ := strings.Cut(reply.Status, " ")
	if reply.Status == "" || wire.HasControl(strings.ReplaceAll(reason, "\t", " ")) {
		return http.StatusText(reply.StatusCode)
	}
	return reason
}

// writeFraming writes the framing fields and ends the head.
func writeFraming(bw *bufio.Writer, h *ReplyHead) {
	if h.Chunked {
		bw.WriteString("Transfer-Encoding: chunked\r\n")
		for name := range h.Trailer {
			writeField(bw, "Trailer: ", name)
		}
	}
	if h.Length != "" {
		writeField(bw, "Content-Length: ", h.Length)
	}
	if !h.Keep {
		bw.WriteString("Connection: close\r\n")
	}
	bw.WriteString("\r\n")
}

func writeField(bw *bufio.Writer, start, value string) {
	bw.WriteString(start)
	bw.WriteString(value)
	bw.WriteString("\r\n")
}
