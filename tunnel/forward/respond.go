package forward

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/relay"
)

var (
	writers     = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 4096) }}
	bodyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// checkReply returns why a reply cannot be passed on. It has closed the reply then.
func (x *exchange) checkReply(reply *http.Response) error {
	err := checkNames(reply.Header)
	switch {
	case err != nil, reply.ProtoMajor != 1, reply.StatusCode < 200: // including a 101 that was not requested
		err = malformedReply(x.Record.Target, err)
	case reply.StatusCode == http.StatusProxyAuthRequired && x.absolute():
		// The client gets no 407, since it does not have the parent's credentials.
		err = &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Target: x.Record.Target,
			Detail: "the next proxy wants credentials that this proxy does not have"}
	default:
		return nil
	}
	reply.Body.Close()
	return err
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
	x.host().Log(x.Record)
	return next
}

// respond writes the reply to the client, with framing of its own: the length if it is
// known, else chunks, or for HTTP/1.0 the connection's end (RFC 9112, section 6.3).
// Nothing is buffered beyond one read.
func (x *exchange) respond(reply *http.Response) (out replyOutcome) {
	out.keep = !x.close && x.body.done.Load() && !x.host().Draining()
	// Replies to HEAD and 304 announce the length of content they do not have.
	length := reply.Header.Get("Content-Length")
	x.removeReplyHopByHop(reply.Header)
	appendVia(reply.Header, min(reply.ProtoMinor, 1), x.exchanges.forwarder.via)
	if reply.Header["Date"] == nil { // RFC 9110, section 6.6.1
		reply.Header["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	}
	hasBody := x.Head.Method != http.MethodHead && reply.StatusCode != http.StatusNoContent && reply.StatusCode != http.StatusNotModified
	chunked := hasBody && reply.ContentLength < 0 && x.Head.Minor == 1
	out.untilClose = hasBody && reply.ContentLength < 0 && !chunked
	switch {
	case hasBody && reply.ContentLength >= 0:
		length = strconv.FormatInt(reply.ContentLength, 10)
	case hasBody, reply.StatusCode == http.StatusNoContent:
		length = ""
	}
	bw := writers.Get().(*bufio.Writer)
	bw.Reset(x.exchanges.conn)
	defer func() {
		bw.Reset(nil)
		writers.Put(bw)
	}()
	x.phase.beginReply(hasBody && reply.ContentLength < 0)
	cleanTrailer(reply.Trailer)
	h := &ReplyHead{Response: reply, Length: length, Content: hasBody, Chunked: chunked, Keep: out.keep}
	if out.toClient = x.exchanges.wire.Head(bw, h); out.toClient != nil {
		return out
	}
	var content io.Writer
	if hasBody {
		content = x.exchanges.wire.Content(bw, h)
		out.fromOrigin, out.toClient = x.copyBody(bw, content, reply.Body)
	}
	switch {
	case out.toClient != nil:
	case out.fromOrigin != nil:
		// The content is incomplete, which the client sees by the end of the connection
		// or stream.
		out.toClient = bw.Flush()
	default:
		cleanTrailer(reply.Trailer)
		out.toClient = x.exchanges.wire.End(bw, h, content)
	}
	return out
}

// pendingReply lets the connection that reads a reply flush the part that is not yet
// sent to the client, before each read that may wait. So a reply that has arrived whole
// is sent in one piece, and no part of any other is held back.
type pendingReply struct {
	mu       sync.Mutex
	bw       *bufio.Writer // nil = not lent
	flushing atomic.Bool   // a flush is under way
}

// lend lends bw, or takes it back with nil.
func (p *pendingReply) lend(bw *bufio.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bw = bw
}

// flush flushes the writer that is lent, if any.
func (p *pendingReply) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bw != nil {
		p.flushing.Store(true)
		_ = p.bw.Flush() // if it fails, the next write will too
		p.flushing.Store(false)
	}
}

// copyBody copies the content to the client as it arrives; to writes over bw.
func (x *exchange) copyBody(bw *bufio.Writer, to io.Writer, body io.Reader) (fromOrigin, toClient error) {
	buffer := bodyBuffers.Get().(*[32 << 10]byte)
	defer bodyBuffers.Put(buffer)
	for fromOrigin == nil {
		var n int
		x.pending.lend(bw)
		x.phase.awaiting.Store(true)
		n, fromOrigin = body.Read(buffer[:])
		x.phase.awaiting.Store(false)
		x.pending.lend(nil)
		if n == 0 {
			continue
		}
		if _, toClient = to.Write(buffer[:n]); toClient != nil {
			return nil, toClient
		}
		x.down.Add(int64(n))
	}
	if fromOrigin != io.EOF {
		return fromOrigin, nil
	}
	return nil, nil
}
