package proxy

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/forward"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// servePlainStream serves a request other than CONNECT, or an extended CONNECT (RFC
// 8441), which corresponds to an upgrade in HTTP/1. For the Forwarder a stream is a
// client connection that carries one exchange.
func (c *clientConn) servePlainStream(s *h2.Stream, head h2.Head) {
	w := &http2Wire{c: c, stream: s, woken: make(chan struct{})}
	defer func() {
		if !w.given {
			s.Close()
		}
	}()
	if protocol := head.Get(":protocol"); protocol != "" && !strings.EqualFold(protocol, "websocket") {
		c.refuseStream(s, c.newStreamRecord(head), &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Status: http.StatusNotImplemented,
			Detail: "of extended CONNECT this proxy knows websocket only"}, false)
		return
	}
	// The data behind an extended CONNECT is not its content.
	w.request = &streamContent{stream: s, ended: head.EndStream || head.Get(":protocol") != ""}
	rec := c.newStreamRecord(head)
	watch := watchBy(streamHasLeft(s))
	verified, e := c.verifyFirst(head, watch, rec)
	switch {
	case e != nil:
		c.refuseStream(s, rec, e, head.Get(":method") == http.MethodHead)
		w.given = true // refuseStream has closed it
		return
	case verified:
		c.loggedIn()
	}
	q, parts := requestOfStream(head)
	exchanges := c.listener.forward.NewExchanges(c.server.run.ctx, h2.NetConn(s, h2.CodeInternal), w)
	defer exchanges.Close()
	exchanges.Serve(forward.Incoming{Head: q, HTTP2: true, Parts: parts, Client: c.addr, Holds: c.slot.Request(), User: c.user, Record: rec, Watch: watch})
}

// verifyFirst verifies a request before more memory is spent on it, if a second
// verification costs nothing.
func (c *clientConn) verifyFirst(head h2.Head, watch watcher, rec *accesslog.Record) (verified bool, e *tunnel.Error) {
	if _, ok := c.server.Verifier.(rememberer); !ok {
		return false, nil
	}
	user, e := c.listener.verify(requestInfo{client: c.addr, user: c.user, credentials: head.Values("proxy-authorization"), weight: head.Weight(), watch: watch})
	rec.User = user
	return e == nil, e
}

// requestOfStream returns a request as it would have come over HTTP/1.1, and the parts of
// its target (RFC 9113, section 8.3.1; for a WebSocket, RFC 8441, section 5).
func requestOfStream(head h2.Head) (*wire.Request, *forward.Parts) {
	p := &forward.Parts{Scheme: head.Get(":scheme"), Authority: head.Get(":authority"), Path: head.Get(":path")}
	if p.Authority == "" {
		p.Authority = head.Get("host")
	}
	q := &wire.Request{Method: head.Get(":method"), Target: p.Scheme + "://" + p.Authority + strings.TrimPrefix(p.Path, "*"), Minor: 1}
	add := func(name, value string) { q.Fields = append(q.Fields, wire.Field{Name: name, Value: value}) }
	add("Host", p.Authority)
	if head.Get(":protocol") != "" {
		q.Method = http.MethodGet
		add("Connection", "Upgrade")
		add("Upgrade", "websocket")
		var key [16]byte
		rand.Read(key[:])
		add("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(key[:])) // RFC 6455, section 4.1
	}
	var cookies []string
	for _, f := range head.Fields {
		switch {
		case f.IsPseudo(), f.Name == "host":
		case f.Name == "cookie": // RFC 9113, section 8.2.3
			cookies = append(cookies, f.Value)
		default:
			add(textproto.CanonicalMIMEHeaderKey(f.Name), f.Value)
		}
	}
	if cookies != nil {
		add("Cookie", strings.Join(cookies, "; "))
	}
	q.Line = q.Method + " " + q.Target + " HTTP/2"
	return q, p
}

// http2Wire is the forward.Wire of a stream.
type http2Wire struct {
	c       *clientConn // the connection of the stream
	stream  *h2.Stream
	given   bool // the stream, to a relay
	request *streamContent
	woken   chan struct{}
	once    sync.Once
}

// Body implements forward.Wire.
func (w *http2Wire) Body(framing wire.Framing) (forward.Content, int64) {
	if w.request.ended || framing.Length == 0 {
		return nil, 0
	}
	return w.request, framing.Length
}

// fieldsOf returns a reply's status and fields as HTTP/2 writes them. The fields that
// concern an HTTP/1 connection were removed before.
func fieldsOf(code int, fields []wire.Field) []h2.Field {
	return appendFields([]h2.Field{{Name: ":status", Value: strconv.Itoa(code)}}, fields)
}

// appendFields appends fields with their names in lower case (RFC 9113, section 8.2).
func appendFields(to []h2.Field, fields []wire.Field) []h2.Field {
	for _, f := range fields {
		to = append(to, h2.Field{Name: strings.ToLower(f.Name), Value: f.Value})
	}
	return to
}

// Interim implements forward.Wire.
func (w *http2Wire) Interim(code int, fields []wire.Field) error {
	return w.stream.Interim(fieldsOf(code, fields))
}

// Head implements forward.Wire.
func (w *http2Wire) Head(_ *bufio.Writer, h *forward.ReplyHead) error {
	fields := fieldsOf(h.Code, h.Fields)
	if h.Length >= 0 {
		fields = append(fields, h2.Field{Name: "content-length", Value: strconv.FormatInt(h.Length, 10)})
	}
	return w.stream.Respond(fields, !h.Content)
}

// Content implements forward.Wire.
func (w *http2Wire) Content(bw *bufio.Writer, _ *forward.ReplyHead) io.Writer { return bw }

// End implements forward.Wire.
func (w *http2Wire) End(bw *bufio.Writer, h *forward.ReplyHead, _ io.Writer) error {
	if err := bw.Flush(); err != nil || !h.Content {
		return err
	}
	if trailer := appendFields(nil, h.Trailer); trailer != nil {
		return w.stream.SendTrailers(trailer)
	}
	return w.stream.CloseWrite()
}

// BreakOff implements forward.Wire: it resets the stream (RFC 9113, section 8.1.1).
func (w *http2Wire) BreakOff(bool) { w.stream.Reset(h2.CodeInternal) }

// Switch implements forward.Wire: it answers an extended CONNECT (RFC 8441, section 5.1).
func (w *http2Wire) Switch(h *forward.ReplyHead, _ string) error {
	fields := slices.DeleteFunc(h.Fields, func(f wire.Field) bool { return strings.EqualFold(f.Name, "Sec-WebSocket-Accept") })
	return w.stream.Respond(fieldsOf(http.StatusOK, fields), false)
}

// Give implements forward.Wire.
func (w *http2Wire) Give() relay.Side {
	w.given = true
	return relay.Side{Conn: h2.NetConn(w.stream, h2.CodeConnect)}
}

// Refuse implements forward.Wire.
func (w *http2Wire) Refuse(rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	w.c.refuseStream(w.stream, rec, e, headOnly)
}

// Await implements forward.Wire. It waits for the end of the stream, since the client
// sends nothing after its request.
func (w *http2Wire) Await() error {
	select {
	case <-w.stream.Done():
		return errStreamGone
	case <-w.woken:
		return nil
	}
}

// Wake implements forward.Wire.
func (w *http2Wire) Wake() { w.once.Do(func() { close(w.woken) }) }

// Settle implements forward.Wire.
func (w *http2Wire) Settle() {}

var errStreamGone = errors.New("the client has given the request up")

// streamContent reads a request's content, and then its trailer.
type streamContent struct {
	stream  *h2.Stream
	ended   bool // there is no content
	trailer []wire.Field
}

func (s *streamContent) Read(b []byte) (int, error) {
	n, err := s.stream.Read(b)
	if err == io.EOF && s.trailer == nil {
		for _, f := range s.stream.Trailer() {
			s.trailer = append(s.trailer, wire.Field{Name: f.Name, Value: f.Value})
		}
	}
	return n, err
}

// Trailer implements forward.Content.
func (s *streamContent) Trailer() []wire.Field { return s.trailer }

// Arrived implements forward.Content.
func (s *streamContent) Arrived() bool { return false }
