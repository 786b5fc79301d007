package proxy

import (
	"bufio"
	"cmp"
	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/forward"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

// serveHTTP1 serves one request after another. The reading of a head
// may take as long as timeout.
func (c *clientConn) serveHTTP1(timeout time.Duration) {
	c.br = readers.Get().(*bufio.Reader)
	c.br.Reset(c.conn)
	for wait := timeout; ; wait = cmp.Or(c.server.KeepAliveTimeout, DefaultKeepAliveTimeout) {
		head, err := c.readHead(wait, timeout)
		if errors.Is(err, errHTTP2) {
			c.serveHTTP2()
			return
		}
		if err != nil {
			c.refuseHead(err)
			return
		}
		if head.Method == http.MethodConnect {
			c.listener.serveConnect(newHTTP1Connect(c, head))
			return
		}
		if !c.servePlain(head) {
			return
		}
	}
}

// errHTTP2 is returned by readHead if the client speaks HTTP/2.
var errHTTP2 = errors.New("the client speaks HTTP/2")

// readHead waits for a head's first byte, and then reads the rest of it.
func (c *clientConn) readHead(wait, rest time.Duration) (*wire.Request, error) {
	first := c.fresh
	c.fresh = false
	if !c.beginWait(wait) {
		return nil, io.EOF
	}
	_, err := c.br.Peek(1)
	c.mu.Lock()
	c.waiting = false
	c.mu.Unlock()
	switch {
	case err != nil && c.isDropped() && (first || sock.PeerOf(c.socket).Held): // its first request may be on its way
		return nil, limitError(quota.ErrDropped, tunnel.Authority{})
	case err != nil:
		return nil, io.EOF // no byte arrived: the client gets no answer
	}
	// Set in any case, since shutdown may have set a deadline in the past.
	var until time.Time
	if rest > 0 {
		until = time.Now().Add(rest)
	}
	c.setReadDeadline(until)
	switch {
	case c.beginsTLS():
		return nil, tlsOnPlainPort()
	case first && c.secure == nil && c.beginsHTTP2():
		return nil, errHTTP2
	}
	head, err := c.scratch.ReadRequest(c.br, c.server.MaxHead)
	if err == nil {
		c.setReadDeadline(time.Time{})
	}
	return head, err
}

// beginWait sets the deadline of a wait for the next request, during which shutdown
// may end the connection. It returns false if the Server is draining already.
func (c *clientConn) beginWait(wait time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.run.draining.Load() && c.br.Buffered() == 0 {
		return false
	}
	c.waiting = true
	if wait > 0 && !c.dropped {
		c.conn.SetReadDeadline(time.Now().Add(wait))
	}
	return true
}

// refuseHead refuses and logs a head that could not be read.
func (c *clientConn) refuseHead(err error) {
	var head *wire.HeadError
	var e *tunnel.Error
	switch {
	case errors.As(err, &head):
		e = forward.RequestError(err)
	case !errors.As(err, &e):
		return // no byte arrived
	}
	rec := c.newRecord("", "")
	if dropped := c.errorIfDropped(); dropped != nil {
		e = dropped
	} else if e.Status == 0 {
		rec.SetError(e)
		rec.Status = 0
		c.server.logRequest(rec)
		return // the client left within the head, and gets no answer
	}
	c.refuse(rec, e, false)
}

// newHTTP1Connect adapts a CONNECT over HTTP/1. Bytes behind the head stay in the
// connection's reader until Accept: after a 2xx they belong to the tunnel, and
// after a refusal nothing reads them (RFC 9931).
func newHTTP1Connect(c *clientConn, head *wire.Request) *connectRequest {
	rec := c.newRecord(head.Method, protocolName(head.Minor))
	holds := c.slot.Request()
	return &connectRequest{
		Authority: strings.Clone(head.Target), Malformed: checkConnect(head), // a clone, since the record outlives the head
		Client: c.addr, Holds: &holds, User: c.user, Credentials: head.Values("Proxy-Authorization"), Via: head.Values("Via"), Record: rec,
		Weight: weightOf(head), Watch: watchBy(c.hasLeft),
		Refuse: func(e *tunnel.Error) { c.refuse(rec, e, false) },
		Accept: func() (relay.Side, error) {
			if _, err := c.conn.Write([]byte(established)); err != nil {
				return relay.Side{}, err
			}
			return c.give(), nil
		},
	}
}

// established is the only 2xx that answers a CONNECT. It has no framing fields, and
// the tunnel begins behind its blank line (RFC 9110, section 9.3.6).
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// give gives the conn to the relay, with the bytes that came behind the head.
func (c *clientConn) give() relay.Side {
	c.given = true
	c.slot.Hand()
	c.scratch = wire.Scratch{} // a tunnel keeps no head
	return relay.Side{Conn: c.conn, Early: c.buffered()}
}

// buffered takes the bytes behind the head out of the reader; nil = none.
func (c *clientConn) buffered() []byte {
	if c.br.Buffered() == 0 {
		return nil
	}
	rest := make([]byte, c.br.Buffered())
	io.ReadFull(c.br, rest) // cannot fail: all of it is in memory
	return rest
}

// checkConnect checks what RFC 9110, section 9.3.6 and RFC 9112, section 3.2
// require of a CONNECT head beyond its target. A Host that differs from the target
// is not an error: the target counts.
func checkConnect(head *wire.Request) *tunnel.Error {
	if err := head.CheckHost(); err != nil {
		return forward.RequestError(err)
	}
	framing, err := head.Framing()
	switch {
	case head.Has("Transfer-Encoding"), err == nil && framing.Length > 0: // even a coding that is a 501 with other methods
		return connectHasContent()
	case err != nil:
		return forward.RequestError(err)
	}
	return nil
}

func connectHasContent() *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Detail: "a CONNECT request has no content"}
}

// servePlain serves one request other than CONNECT, and reports whether the
// connection can carry another.
func (c *clientConn) servePlain(head *wire.Request) bool {
	if c.exchanges == nil {
		c.exchanges = c.listener.forward.NewExchanges(c.server.run.ctx, c.conn, &http1Wire{forward.HTTP1{Conn: c.conn, Reader: c.br}, c})
	}
	framing, err := head.Framing()
	c.content = err == nil && (framing.Length > 0 || framing.Chunked)
	rec := c.newRecord(head.Method, protocolName(head.Minor))
	next := c.exchanges.Serve(forward.Incoming{Head: head, Client: c.addr, Holds: c.slot.Request(), User: c.user, Record: rec, Watch: watchBy(c.hasLeft)})
	c.unread = next == forward.NextDrain
	return next == forward.NextRequest
}

// http1Wire is the forward.Wire of a client connection that speaks HTTP/1.
type http1Wire struct {
	forward.HTTP1
	c *clientConn
}

// Give implements forward.Wire.
func (w *http1Wire) Give() relay.Side { return w.c.give() }

// Refuse implements forward.Wire.
func (w *http1Wire) Refuse(rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	w.c.refuse(rec, e, headOnly)
}

// protocolName returns a record's name for an HTTP/1 minor version.
func protocolName(minor int) string {
	if minor == 0 {
		return "http/1.0"
	}
	return "http/1.1"
}
