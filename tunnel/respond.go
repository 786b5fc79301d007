package tunnel

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/wire"
)

var (
	writers     = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 4096) }}
	bodyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

// countedBody counts a request's content and knows whether all of it was read.
type countedBody struct {
	io.ReadCloser
	interim *interim
	n       atomic.Int64
	done    atomic.Bool // end of file was reached: the next request may be read
}

// Read asks the client for the content first, if the client waits to be asked.
func (b *countedBody) Read(p []byte) (int, error) {
	b.interim.goOn()
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	if err == io.EOF {
		b.done.Store(true)
	}
	return n, err
}

// Close leaves what was not read: the connection is closed instead.
func (b *countedBody) Close() error { return nil }

// interim relays 1xx replies to the client, 100 at most once and nothing after
// the final reply began (RFC 9110, section 10.1.1).
type interim struct {
	mu      sync.Mutex
	w       io.Writer
	waits   bool // the client said Expect: 100-continue and was not told yet
	allowed bool // HTTP/1.1, and the final reply did not begin
}

func (i *interim) goOn() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.waits && i.allowed {
		i.waits = false
		io.WriteString(i.w, "HTTP/1.1 100 Continue\r\n\r\n")
	}
}

func (i *interim) pass(code int, header textproto.MIMEHeader) {
	if code == http.StatusContinue {
		i.goOn()
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.allowed {
		return
	}
	fields := http.Header(header).Clone()
	removeHopByHop(fields)
	bw := bufio.NewWriter(i.w)
	writeStatusLine(bw, code)
	fields.Write(bw)
	bw.WriteString("\r\n")
	bw.Flush()
}

func (i *interim) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.allowed = false
}

// trace learns the address and relays interim replies.
func (x *plainExchange) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { x.rec.Addr = info.Conn.RemoteAddr().String() },
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			x.interim.pass(code, header)
			return nil
		},
	}
}

// forward sends the request on and the reply back, and reports whether the
// client's connection is good for a further request.
func (x *plainExchange) forward() bool {
	ctx, cancel := context.WithCancel(x.c.server.run.ctx)
	defer cancel()
	watch := x.watch(cancel)
	start := time.Now()
	reply, err := x.c.at.forward.transport(x.route).RoundTrip(x.outgoing(ctx))
	x.rec.Connect = time.Since(start)
	x.interim.end()
	if err != nil {
		clientGone := !watch.stop()
		x.rec.Up = x.body.n.Load()
		e := transportError(err, x.target)
		if clientGone {
			x.c.server.clientLeft(x.rec, err)
			return false
		}
		x.c.refuse(x.rec, e, x.in.Method == http.MethodHead)
		return false
	}
	keep, err := x.respond(reply)
	reply.Body.Close()
	alive := watch.stop()
	x.finish(reply.StatusCode, err)
	return keep && alive && err == nil
}

// finish logs the request.
func (x *plainExchange) finish(status int, err error) {
	x.rec.Status, x.rec.Up = status, x.body.n.Load()
	if err != nil {
		x.rec.Error = ErrorResponseIncomplete
	}
	x.c.logRequest(x.rec)
}

// respond writes the reply to the client. Framing is written anew: the
// length if it is known, chunks if not, and for HTTP/1.0 the connection's end
// (RFC 9112, section 6.3). Nothing is buffered beyond what one read brought.
func (x *plainExchange) respond(reply *http.Response) (keep bool, err error) {
	keep = !x.in.Close && x.head.Minor == 1 && x.body.done.Load() &&
		!wire.HasToken(x.head.Values("Proxy-Connection"), "close")
	// HEAD and 304 announce the length of what they do not bring.
	length := reply.Header.Get("Content-Length")
	removeHopByHop(reply.Header)
	appendVia(reply.Header, reply.ProtoMinor, x.c.server.pseudonym())
	if reply.Header["Date"] == nil { // RFC 9110, section 6.6.1
		reply.Header["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	}
	hasBody := x.in.Method != http.MethodHead && reply.StatusCode != http.StatusNoContent && reply.StatusCode != http.StatusNotModified
	chunked := hasBody && reply.ContentLength < 0 && x.head.Minor == 1
	switch {
	case hasBody && reply.ContentLength >= 0:
		length = strconv.FormatInt(reply.ContentLength, 10)
	case hasBody:
		length = ""
		keep = keep && chunked
	case reply.StatusCode == http.StatusNoContent:
		length = ""
	}
	bw := writers.Get().(*bufio.Writer)
	bw.Reset(x.c.conn)
	defer func() {
		bw.Reset(nil)
		writers.Put(bw)
	}()
	writeStatusLine(bw, reply.StatusCode)
	reply.Header.Write(bw)
	writeFraming(bw, reply.Trailer, length, chunked, keep)
	if !hasBody {
		return keep, bw.Flush()
	}
	x.rec.Down, err = copyBody(bw, reply, chunked)
	if err != nil {
		// What was announced cannot be kept: only a close tells the client.
		return false, err
	}
	return keep, bw.Flush()
}

func writeStatusLine(bw *bufio.Writer, code int) {
	bw.WriteString("HTTP/1.1 ")
	bw.WriteString(strconv.Itoa(code))
	bw.WriteByte(' ')
	bw.WriteString(http.StatusText(code))
	bw.WriteString("\r\n")
}

// writeFraming ends the head.
func writeFraming(bw *bufio.Writer, trailer http.Header, length string, chunked, keep bool) {
	if chunked {
		bw.WriteString("Transfer-Encoding: chunked\r\n")
		for name := range trailer {
			bw.WriteString("Trailer: " + name + "\r\n")
		}
	}
	if length != "" {
		bw.WriteString("Content-Length: " + length + "\r\n")
	}
	if !keep {
		bw.WriteString("Connection: close\r\n")
	}
	bw.WriteString("\r\n")
}

// copyBody copies the content as it comes, flushing after each read.
func copyBody(bw *bufio.Writer, reply *http.Response, chunked bool) (int64, error) {
	var w io.Writer = bw
	var chunks io.WriteCloser
	if chunked {
		chunks = httputil.NewChunkedWriter(bw)
		w = chunks
	}
	buffer := bodyBuffers.Get().(*[32 << 10]byte)
	defer bodyBuffers.Put(buffer)
	var n int64
	for {
		m, err := reply.Body.Read(buffer[:])
		if m > 0 {
			if _, err := w.Write(buffer[:m]); err != nil {
				return n, err
			}
			n += int64(m)
		}
		if err == io.EOF {
			break
		}
		if err == nil && m > 0 {
			err = bw.Flush()
		}
		if err != nil {
			bw.Flush()
			return n, err
		}
	}
	if chunked {
		chunks.Close()
		reply.Trailer.Write(bw)
		bw.WriteString("\r\n")
	}
	return n, nil
}
