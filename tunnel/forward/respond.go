package forward

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

var (
	writers     = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 4096) }}
	bodyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// checkReply returns the framing of a reply, or why it cannot be passed on.
func (x *exchange) checkReply(reply *wire.Reply) (wire.Framing, error) {
	framing, err := reply.ContentFraming(x.Head.Method)
	switch {
	case err != nil, reply.Code < 200: // including a 101 that was not requested
		return framing, malformedReply(x.Record.Target, err)
	case reply.Code == http.StatusProxyAuthRequired && x.absolute():
		// The client gets no 407, since it does not have the parent's credentials.
		detail := "the next proxy wants credentials that this proxy does not have"
		if x.credentials() != "" {
			detail = "the next proxy refused this proxy's credentials"
		}
		return framing, &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Target: x.Record.Target, Detail: detail}
	}
	return framing, nil
}

// replyOutcome says how the writing of a reply ended.
type replyOutcome struct {
	keep       bool  // the client was told that the connection is kept
	fromOrigin error // why the reply could not be read whole
	toClient   error // why it could not be written
	untilClose bool  // for the client the reply ends with the connection
}

// served logs a request that has a reply, and makes sure that the client does not take
// an incomplete reply for a whole one.
func (x *exchange) served(status int, out replyOutcome, end watchEnd) Next {
	whole, next := x.body.leave(), NextClose
	x.Record.Status, x.Record.Up, x.Record.Down = status, x.body.n.Load(), x.down.Load()
	switch {
	case end == clientSilent && (out.toClient != nil || out.fromOrigin != nil):
		x.Record.Error, x.Record.ClosedBy = tunnel.ErrorConnectionReadTimeout, relay.ClosedByIdle
		_ = x.exchanges.conn.SetWriteDeadline(time.Time{}) // so that the end of what was written can be sent
		x.exchanges.wire.BreakOff(out.untilClose)
	case out.toClient != nil, out.fromOrigin != nil && end == clientGone:
		x.Record.Error, x.Record.ClosedBy = tunnel.ErrorConnectionTerminated, relay.ClosedByClient
	case out.fromOrigin != nil:
		x.Record.Error = tunnel.ErrorResponseIncomplete
		x.exchanges.wire.BreakOff(out.untilClose)
	case out.keep && whole && end == clientThere:
		next = NextRequest
	default:
		next = NextDrain
	}
	x.Holds.End() // before the record says that it has ended
	x.host().Log(x.Record)
	return next
}

// respond writes the reply to the client, with framing of its own: the length if it is
// known, else chunks, or for HTTP/1.0 the connection's end (RFC 9112, section 6.3).
// Nothing is buffered beyond one read.
func (x *exchange) respond(reply *wire.Reply, framing wire.Framing) replyOutcome {
	h := &x.replyHead
	*h = ReplyHead{Code: reply.Code, Reason: reasonOf(reply), Length: framing.Length}
	h.Content = x.Head.Method != http.MethodHead && reply.Code != http.StatusNoContent && reply.Code != http.StatusNotModified
	if !h.Content && reply.Code != http.StatusNoContent {
		// Replies to HEAD and 304 announce the length of content they do not have.
		announced, _ := reply.Framing()
		h.Length = announced.Length
	} else if !h.Content {
		h.Length = -1
	}
	h.Fields = endToEnd(reply.Fields)
	x.content.Reset(x.upstream.br, framing, false)
	out := x.write(h, reply.Minor, &x.content)
	return out
}

// write writes a reply with content of its own. received is the minor version by which
// it came.
func (x *exchange) write(h *ReplyHead, received int, body io.Reader) (out replyOutcome) {
	out.keep = !x.close && x.body.done.Load() && !x.host().Draining()
	h.Keep = out.keep
	h.Fields = appendVia(h.Fields, x.exchanges.forwarder.via[received])
	if _, ok := get(h.Fields, "Date"); !ok { // RFC 9110, section 6.6.1
		h.Fields = append(h.Fields, wire.Field{Name: "Date", Value: time.Now().UTC().Format(http.TimeFormat)})
	}
	endless := h.Content && h.Length < 0
	h.Chunked = endless && x.Head.Minor == 1
	if !h.Chunked && !x.HTTP2 {
		h.Fields = slices.DeleteFunc(h.Fields, func(f wire.Field) bool { return isName(f.Name, "Trailer") })
	}
	out.untilClose = endless && !h.Chunked
	bw := writers.Get().(*bufio.Writer)
	bw.Reset(x.exchanges.conn)
	defer func() {
		bw.Reset(nil)
		writers.Put(bw)
	}()
	x.phase.beginReply(endless)
	if out.toClient = x.exchanges.wire.Head(bw, h); out.toClient != nil {
		return out
	}
	var content io.Writer
	if h.Content {
		content = x.exchanges.wire.Content(bw, h)
		out.fromOrigin, out.toClient = x.copyBody(bw, content, body)
	}
	switch {
	case out.toClient != nil:
	case out.fromOrigin != nil:
		// The content is incomplete, which the client sees by the end of the connection
		// or stream.
		out.toClient = bw.Flush()
	default:
		h.Trailer = trailerFields(x.content.Trailer())
		out.toClient = x.exchanges.wire.End(bw, h, content)
	}
	return out
}

// pendingReply lets the connection that reads a reply flush the part that is not yet
// sent to the client, before each read that may wait. So a reply that has arrived whole
// is sent in one piece, and no part of any other is held back.
type pendingReply struct {
	bw       *bufio.Writer // nil = not lent
	flushing atomic.Bool   // a flush is under way
}

// flush flushes the writer that is lent, if any.
func (p *pendingReply) flush() {
	if p.bw != nil && p.bw.Buffered() > 0 {
		p.flushing.Store(true)
		_ = p.bw.Flush() // if it fails, the next write will too
		p.flushing.Store(false)
	}
}

// copyBody copies the content to the client as it arrives; to writes over bw.
func (x *exchange) copyBody(bw *bufio.Writer, to io.Writer, body io.Reader) (fromOrigin, toClient error) {
	buffer := bodyBuffers.Get().(*[32 << 10]byte)
	defer bodyBuffers.Put(buffer)
	x.pending.bw = bw
	defer func() { x.pending.bw = nil }()
	for fromOrigin == nil {
		if s := x.splicerDown(bw, to); s != nil {
			if fromOrigin, toClient = x.spliceDown(bw, s); fromOrigin != nil || toClient != nil {
				break
			}
		}
		var n int
		x.phase.awaiting.Store(true)
		n, fromOrigin = body.Read(buffer[:])
		x.phase.awaiting.Store(false)
		if n == 0 {
			continue
		}
		if _, toClient = to.Write(buffer[:n]); toClient != nil {
			return nil, toClient
		}
		x.down.Add(int64(n))
	}
	if fromOrigin != io.EOF {
		return fromOrigin, toClient
	}
	return nil, toClient
}

// splicerDown returns a splicer for the rest of the content; nil if it must be copied: it
// is short or framed, or a connection is more than a socket, or bytes are in a buffer.
func (x *exchange) splicerDown(bw *bufio.Writer, to io.Writer) *splicer {
	if x.copies || to != io.Writer(bw) || x.content.Left() < spliceFrom || x.upstream.br.Buffered() > 0 {
		return nil
	}
	s := newSplicer(x.upstream.conn, x.exchanges.conn)
	x.copies = s == nil
	return s
}

// spliceDown moves the rest of the content to the client. fromOrigin is io.EOF after the
// last byte. If both errors are nil, the rest has to be copied.
func (x *exchange) spliceDown(bw *bufio.Writer, s *splicer) (fromOrigin, toClient error) {
	if toClient = bw.Flush(); toClient != nil {
		return nil, toClient
	}
	for x.content.Left() > 0 {
		x.phase.awaiting.Store(true)
		n, err := s.take(x.content.Left())
		x.phase.awaiting.Store(false)
		x.content.Skip(int64(n))
		switch {
		case err != nil:
			return err, nil
		case n == 0:
			x.copies = true
			return nil, nil
		}
		if err := s.give(func(n int) { x.down.Add(int64(n)) }); err != nil {
			return nil, err
		}
	}
	return io.EOF, nil
}
