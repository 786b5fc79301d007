package proxy

import (
	"bufio"
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/relay"
)

// protocolHTTP2 is the name of HTTP/2 in records. In ALPN it is "h2" (RFC 9113,
// section 3.2).
const protocolHTTP2 = "http/2"

// maxStreams is how many tunnels and requests a client may have on one HTTP/2
// connection. For more it opens another.
const maxStreams = 250

// beginsHTTP2 reports whether the client begins with the HTTP/2 preface, as it may
// without negotiation (prior knowledge: RFC 9113, section 3.3). It waits for another
// byte only while all bytes so far are the preface's.
func (c *clientConn) beginsHTTP2() bool {
	for n := 1; n <= len(h2.Preface); n++ {
		if start, _ := c.br.Peek(n); string(start) != h2.Preface[:n] {
			return false
		}
	}
	return true
}

// serveHTTP2 serves the connection's streams, each on a goroutine of its own, until
// the connection ends. Shutdown lets the streams come to their end.
func (c *clientConn) serveHTTP2() {
	s := c.server
	c.given = true
	var rejections sync.WaitGroup
	conn := c.conn
	if c.br != nil { // HTTP/2 without TLS: the preface was read
		conn = &sock.Early{Conn: c.conn, Unread: c.buffered()}
	}
	// Shutdown finds c.streams set, or has begun: without the lock it could take a
	// connection with a tunnel on it for one that waits, and end it.
	c.mu.Lock()
	c.conn.SetDeadline(time.Time{})
	streams := h2.Server(conn, h2.Config{
		MaxStreams: maxStreams, FirstStreams: c.firstStreams(), MaxHead: s.MaxHead, EnableConnectProtocol: true,
		SettingsTimeout: offIsNegative(cmp.Or(s.HeaderTimeout, DefaultHeaderTimeout)),
		IdleTimeout:     offIsNegative(cmp.Or(s.KeepAliveTimeout, DefaultKeepAliveTimeout)),
		// On a goroutine, since the connection's lock is held and a log may be slow.
		Rejected: func(e *h2.StreamError) { rejections.Go(func() { c.logRejected(e) }) },
	}, c.serveStream)
	c.streams = streams
	draining := s.run.draining.Load() || c.dropped
	c.mu.Unlock()
	if draining {
		streams.Shutdown()
	}
	err := streams.Wait()
	rejections.Wait()
	if err != nil {
		c.logConnError(err)
	}
}

// strangerStreams is how many streams a client may have until it has logged in.
const strangerStreams = 8

// firstStreams returns how many streams the client may have at first.
func (c *clientConn) firstStreams() int {
	if c.server.Verifier != nil && c.user == "" {
		return strangerStreams
	}
	return maxStreams
}

// loggedIn notes that the client has logged in.
func (c *clientConn) loggedIn() {
	c.mu.Lock()
	streams := c.streams
	c.mu.Unlock()
	if streams != nil && c.server.Verifier != nil {
		streams.AllowAll()
	}
}

// offIsNegative returns -1 for 0, which in h2.Config would mean the default.
func offIsNegative(d time.Duration) time.Duration {
	if d <= 0 {
		return -1
	}
	return d
}

// serveStream serves one request. It owns the stream unless a relay takes it.
func (c *clientConn) serveStream(s *h2.Stream, head h2.Head) {
	switch {
	case head.TooLarge:
		rec := c.newStreamRecord(head)
		c.refuseStream(s, rec, &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest,
			Status: http.StatusRequestHeaderFieldsTooLarge, Detail: "the request head is too large"}, false)
	case head.Get(":method") == http.MethodConnect && head.Get(":protocol") == "":
		c.listener.serveConnect(newHTTP2Connect(c, s, head))
	default:
		c.servePlainStream(s, head)
	}
}

// newHTTP2Connect adapts a CONNECT over HTTP/2 (RFC 9113, section 8.5). Bytes that the
// client has sent early stay in the stream until Accept, and then belong to the
// tunnel.
func newHTTP2Connect(c *clientConn, s *h2.Stream, head h2.Head) *connectRequest {
	rec := c.newStreamRecord(head)
	holds := c.slot.Request()
	q := &connectRequest{
		Authority: head.Get(":authority"),
		Client:    c.addr, Holds: &holds, User: c.user, Credentials: head.Values("proxy-authorization"), Via: head.Values("via"), Record: rec,
		Weight: head.Weight(), Watch: watchBy(streamHasLeft(s)),
		Refuse: func(e *tunnel.Error) { c.refuseStream(s, rec, e, false) },
		Accept: func() (relay.Side, error) {
			c.loggedIn()
			if err := s.Respond([]h2.Field{{Name: ":status", Value: "200"}}, false); err != nil {
				s.Close()
				return relay.Side{}, err
			}
			return relay.Side{Conn: h2.NetConn(s, h2.CodeConnect)}, nil
		},
	}
	if length := head.Get("content-length"); length != "" && length != "0" {
		q.Malformed = connectHasContent()
	}
	return q
}

func (c *clientConn) newStreamRecord(head h2.Head) *accesslog.Record {
	return c.newRecord(head.Get(":method"), protocolHTTP2)
}

// refuseStream replies to a request with an error, and logs it. The connection and
// its other streams are not affected.
func (c *clientConn) refuseStream(s *h2.Stream, rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	defer s.Close()
	rec.SetError(e)
	if timeout := cmp.Or(c.server.HeaderTimeout, DefaultHeaderTimeout); timeout > 0 {
		s.SetWriteDeadline(time.Now().Add(timeout))
	}
	r := c.server.newRefusal(e)
	fields := []h2.Field{{Name: ":status", Value: strconv.Itoa(r.status)}}
	for _, f := range r.fields {
		fields = append(fields, h2.Field{Name: strings.ToLower(f.Name), Value: f.Value})
	}
	err := s.Respond(fields, headOnly)
	if err == nil && !headOnly {
		if _, err = s.Write([]byte(r.body)); err == nil {
			err = s.CloseWrite()
		}
	}
	if err != nil {
		rec.Status = 0
	}
	c.server.logRequest(rec)
}

// logRejected logs a request whose stream was reset because it was malformed, or
// because the client later violated HTTP/2 on it.
func (c *clientConn) logRejected(e *h2.StreamError) {
	defer panics.Recover("the log of a stream", nil)
	rec := c.newRecord("", protocolHTTP2)
	rec.SetError(&tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Detail: e.Error()})
	rec.Status = 0 // there was no answer
	c.server.logRequest(rec)
}

// logConnError logs that a connection ended because the client violated HTTP/2. A
// connection that broke is in the records of its tunnels.
func (c *clientConn) logConnError(err error) {
	var broken *h2.ConnError
	if errors.As(err, &broken) && (broken.Err != nil || broken.Remote || broken.Code == h2.CodeNo) {
		return
	}
	rec := c.newRecord("", protocolHTTP2)
	rec.SetError(&tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Detail: err.Error()})
	rec.Status = 0
	c.server.logRequest(rec)
}

// speaksHTTP2 reports whether a client that will be refused speaks HTTP/2. It waits a
// moment for a preface, and does not consume it.
func (c *clientConn) speaksHTTP2() bool {
	if c.secure != nil {
		return c.secure.ConnectionState().NegotiatedProtocol == tunnel.ALPNHTTP2
	}
	c.br = readers.Get().(*bufio.Reader)
	c.br.Reset(c.conn)
	c.conn.SetReadDeadline(time.Now().Add(drainTime / 4))
	defer c.conn.SetReadDeadline(time.Time{})
	return c.beginsHTTP2()
}

// refuseHTTP2 refuses a client that is not served, before a request is judged: every
// stream gets the same answer, and the connection ends.
func (c *clientConn) refuseHTTP2(e *tunnel.Error) {
	c.given = true
	conn := c.conn
	if c.br != nil {
		conn = &sock.Early{Conn: c.conn, Unread: c.buffered()}
	}
	var once sync.Once
	answered := make(chan struct{})
	streams := h2.Server(conn, h2.Config{MaxStreams: 1, MaxHead: c.server.MaxHead, SettingsTimeout: drainTime, IdleTimeout: drainTime}, func(s *h2.Stream, head h2.Head) {
		refused := false
		once.Do(func() {
			refused = true
			c.refuseStream(s, c.newStreamRecord(head), e, head.Get(":method") == http.MethodHead)
			close(answered)
		})
		if !refused {
			s.Reset(h2.CodeRefusedStream)
			s.Close()
		}
	})
	select {
	case <-answered:
	case <-streams.Done():
		once.Do(func() { c.refuseRecord(e) })
	case <-time.After(drainTime):
	}
	streams.Shutdown()
	_ = streams.Wait()
}

// refuseRecord logs a client that was refused and got no answer.
func (c *clientConn) refuseRecord(e *tunnel.Error) {
	rec := c.newRecord("", protocolHTTP2)
	rec.SetError(e)
	rec.Status = 0
	c.server.logRequest(rec)
}
