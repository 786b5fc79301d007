package tunnel

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httputil"
	"time"

	"culvert/tunnel/internal/wire"
)

// plainWire is the client's side of plain exchanges, as its protocol version
// writes it: http1Wire, http2Wire (serverh2_plain.go) or handlerWire
// (servehttp.go).
type plainWire interface {
	// received is the protocol version that requests came in, as viaFields
	// knows it.
	received() int

	// interim sends an interim reply's head.
	interim(code int, fields http.Header)

	// head sends a reply's head. What it writes by bw need not be flushed.
	head(bw *bufio.Writer, h *replyHead) error

	// content is what a reply's content is written to, over bw.
	content(bw *bufio.Writer, h *replyHead) io.Writer

	// end ends the content, with the trailer that came behind it, and flushes.
	end(bw *bufio.Writer, h *replyHead, content io.Writer) error

	// breakOff sees to it that a part of a reply does not pass for all.
	breakOff(untilClose bool)

	// switched answers that the protocol changes, to one of those named, and
	// give hands the conn to the relay then.
	switched(reply *http.Response, protocols string) error
	give() relaySide

	// refuse answers with an error, logs it, and ends the exchange.
	refuse(rec *Record, e *Error, headOnly bool)

	// await returns when the client sends more, io.EOF when it has ended its
	// side, another error when it is gone; wake makes it return, and settle
	// undoes that once it has.
	await() error
	wake()
	settle()
}

// framedWire is one whose requests' content comes framed, and not on the
// connection behind the head.
type framedWire interface {
	// body returns a request's content, nil if there is none, the trailer that
	// is filled in at its end, and its length, -1 if that is not known.
	body(wire.Framing) (content io.Reader, trailer http.Header, length int64)
}

// replyHead is a reply's head on its way to the client.
type replyHead struct {
	*http.Response
	length  string // of Content-Length, "" = none
	content bool   // there may be some
	chunked bool   // over HTTP/1: the length is not known
	keep    bool   // over HTTP/1: the connection goes on
}

// http1Wire is a client connection of HTTP/1.
type http1Wire clientConn

func (w *http1Wire) received() int { return w.minor }

func (w *http1Wire) interim(code int, fields http.Header) {
	bw := bufio.NewWriter(w.conn)
	writeStatusLine(bw, code, http.StatusText(code))
	fields.Write(bw)
	bw.WriteString("\r\n")
	bw.Flush()
}

func (w *http1Wire) head(bw *bufio.Writer, h *replyHead) error {
	writeStatusLine(bw, h.StatusCode, reasonOf(h.Response))
	h.Header.Write(bw)
	writeFraming(bw, h.Trailer, h.length, h.chunked, h.keep)
	return nil
}

func (w *http1Wire) content(bw *bufio.Writer, h *replyHead) io.Writer {
	if h.chunked {
		return httputil.NewChunkedWriter(bw)
	}
	return bw
}

func (w *http1Wire) end(bw *bufio.Writer, h *replyHead, content io.Writer) error {
	if chunks, ok := content.(io.Closer); ok && h.chunked {
		chunks.Close()
		h.Trailer.Write(bw)
		bw.WriteString("\r\n")
	}
	return bw.Flush()
}

// breakOff resets a connection whose orderly end would say that all has come.
func (w *http1Wire) breakOff(untilClose bool) {
	if tcp := tcpOf(w.conn); tcp != nil && untilClose {
		_ = tcp.SetLinger(0)
		if w.secure != nil { // whose goodbye would make it an orderly end
			_ = tcp.Close()
		}
	}
}

func (w *http1Wire) switched(reply *http.Response, protocols string) error {
	bw := bufio.NewWriter(w.conn)
	writeStatusLine(bw, reply.StatusCode, reasonOf(reply))
	bw.WriteString("Connection: Upgrade\r\nUpgrade: " + protocols + "\r\n")
	reply.Header.Write(bw)
	bw.WriteString("\r\n")
	return bw.Flush()
}

func (w *http1Wire) give() relaySide { return (*clientConn)(w).give() }

func (w *http1Wire) refuse(rec *Record, e *Error, headOnly bool) {
	(*clientConn)(w).refuse(rec, e, headOnly)
}

func (w *http1Wire) await() error {
	_, err := w.br.Peek(1)
	return err
}

func (w *http1Wire) wake()   { w.conn.SetReadDeadline(past) }
func (w *http1Wire) settle() { w.conn.SetReadDeadline(time.Time{}) }
