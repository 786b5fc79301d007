package forward

import (
	"bufio"
	"io"
	"net"
	"net/http"
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
	// Body returns a request's content, nil if there is none, and its length in bytes,
	// -1 if it is not known.
	Body(framing wire.Framing) (content Content, length int64)

	// Interim sends an interim reply (1xx).
	Interim(code int, fields []wire.Field) error

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
	Switch(h *ReplyHead, protocols string) error
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

// Content is the content of a request. Its trailer section is complete once Read has
// returned io.EOF.
type Content interface {
	io.Reader
	Trailer() []wire.Field

	// Arrived reports whether all of it can be read without waiting.
	Arrived() bool
}

// ReplyHead is a reply's head on its way to the client, and its trailer section.
type ReplyHead struct {
	Code    int
	Reason  string
	Fields  []wire.Field // without those that frame the content or concern a connection
	Length  int64        // for Content-Length; -1 = none
	Content bool         // the reply may have content
	Chunked bool         // over HTTP/1: in chunks, since the length is not known
	Keep    bool         // over HTTP/1: the connection is kept
	Trailer []wire.Field // known when the content ends
}

// HTTP1 implements Wire for HTTP/1, except Give and Refuse: a Wire embeds it and adds
// those.
type HTTP1 struct {
	Conn   net.Conn
	Reader *bufio.Reader // over Conn, behind the request's head

	content wire.Content
	chunks  wire.ChunkWriter
}

// Body implements Wire.
func (w *HTTP1) Body(framing wire.Framing) (Content, int64) {
	if framing.Empty() {
		return nil, 0
	}
	w.content.Reset(w.Reader, framing, true)
	return &w.content, framing.Length
}

// Interim implements Wire.
func (w *HTTP1) Interim(code int, fields []wire.Field) error {
	bw := bufio.NewWriter(w.Conn)
	writeStatusLine(bw, code, http.StatusText(code))
	writeFields(bw, fields)
	bw.WriteString("\r\n")
	return bw.Flush()
}

// Head implements Wire.
func (w *HTTP1) Head(bw *bufio.Writer, h *ReplyHead) error {
	writeStatusLine(bw, h.Code, h.Reason)
	writeFields(bw, h.Fields)
	if h.Chunked {
		bw.WriteString("Transfer-Encoding: chunked\r\n")
	}
	if h.Length >= 0 {
		bw.WriteString("Content-Length: ")
		bw.Write(strconv.AppendInt(bw.AvailableBuffer(), h.Length, 10))
		bw.WriteString("\r\n")
	}
	if !h.Keep {
		bw.WriteString("Connection: close\r\n")
	}
	bw.WriteString("\r\n")
	return nil
}

// Content implements Wire.
func (w *HTTP1) Content(bw *bufio.Writer, h *ReplyHead) io.Writer {
	if h.Chunked {
		w.chunks.W = bw
		return &w.chunks
	}
	return bw
}

// End implements Wire.
func (w *HTTP1) End(bw *bufio.Writer, h *ReplyHead, _ io.Writer) error {
	if h.Content && h.Chunked {
		w.chunks.Close(h.Trailer)
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
func (w *HTTP1) Switch(h *ReplyHead, protocols string) error {
	return WriteSwitch(w.Conn, h, protocols)
}

// WriteSwitch writes an HTTP/1 reply with status 101, which changes to the protocols
// named (RFC 9110, section 7.8).
func WriteSwitch(w io.Writer, h *ReplyHead, protocols string) error {
	bw := bufio.NewWriter(w)
	writeStatusLine(bw, h.Code, h.Reason)
	bw.WriteString("Connection: Upgrade\r\nUpgrade: " + protocols + "\r\n")
	writeFields(bw, h.Fields)
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
func reasonOf(p *wire.Reply) string {
	if wire.HasControl(strings.ReplaceAll(p.Reason, "\t", " ")) {
		return http.StatusText(p.Code)
	}
	return p.Reason
}

// writeFields writes field lines, spelt and ordered as they are.
func writeFields(bw *bufio.Writer, fields []wire.Field) {
	for i := range fields {
		bw.WriteString(fields[i].Name)
		bw.WriteString(": ")
		bw.WriteString(fields[i].Value)
		bw.WriteString("\r\n")
	}
}
