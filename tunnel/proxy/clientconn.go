package proxy

import (
	"bufio"
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/forward"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/listen"
)

// requester is a client that sends requests.
type requester struct {
	listener *listener
	addr     netip.Addr // invalid on a unix socket
	name     string     // for the log
	user     string     // by its certificate; "" = none
}

// newRecord begins a record. Method and protocol are "" if no head was read.
func (r *requester) newRecord(method, protocol string) *accesslog.Record {
	return &accesslog.Record{Start: time.Now(), ID: r.listener.server.newID(), Client: r.name, Listener: r.listener.url,
		Method: strings.Clone(method), Protocol: protocol} // a clone, since the record outlives the head
}

// clientConn is one client connection. Over HTTP/1, heads are read from it one by
// one, until a CONNECT or an upgrade gives it to the relay (h1.go); over HTTP/2 its
// streams carry the requests (h2.go).
type clientConn struct {
	requester
	server    *Server
	conn      net.Conn
	socket    net.Conn           // beneath TLS, or conn itself
	secure    *listen.Conn       // conn, if it is TLS; else nil
	local     bool               // over a unix socket
	br        *bufio.Reader      // over conn, pooled; nil before HTTP/1 begins
	given     bool               // the relay has conn, and closes it
	scratch   wire.Scratch       // of the heads
	fresh     bool               // no head was read yet
	slot      quota.Slot         // its place in the table
	refusal   *tunnel.Error      // why the client is not served; nil = it is
	unread    bool               // there may be content that nobody has read
	content   bool               // the request under way has content
	exchanges *forward.Exchanges // for requests other than CONNECT; nil before the first

	mu      sync.Mutex
	waiting bool     // for the first byte of a head
	dropped bool     // see Drop
	secured bool     // the TLS handshake is over
	streams *h2.Conn // nil unless the client speaks HTTP/2
}

func newClientConn(ln *listener, conn net.Conn) *clientConn {
	c := &clientConn{requester: requester{listener: ln, name: "unix"}, server: ln.server, conn: conn, socket: conn, fresh: true, waiting: true}
	if secure, ok := conn.(*listen.Conn); ok {
		c.secure, c.socket = secure, secure.Socket()
	}
	if c.local = ln.Addr().Network() == "unix"; c.local {
		return c
	}
	ap := remoteAddrPort(c.socket)
	c.addr = ap.Addr().Unmap().WithZone("")
	c.name = netip.AddrPortFrom(c.addr, ap.Port()).String()
	return c
}

func remoteAddrPort(conn net.Conn) (ap netip.AddrPort) {
	if own, ok := conn.(sock.Addressed); ok {
		return own.RemoteAddrPort()
	}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	ap, _ = netip.ParseAddrPort(conn.RemoteAddr().String()) // such as a test's
	return ap
}

// serveRecovered is serve; a panic ends this connection only.
func (c *clientConn) serveRecovered() {
	defer panics.Recover("a client connection", func() {
		if c.given { // the relay may not have got it
			c.conn.Close()
		}
	})
	c.serve()
}

// serve serves the connection until it ends or is given away.
func (c *clientConn) serve() {
	defer c.finish()
	timeout := cmp.Or(c.server.HeaderTimeout, DefaultHeaderTimeout)
	refusal := c.refusal
	if c.secure != nil {
		limit := timeout
		if refusal != nil {
			limit = drainTime // long enough to be told
		}
		if !c.handshake(limit, refusal) {
			return
		}
	}
	if c.secure != nil && c.secure.IsACMEChallenge() {
		return // the handshake was all that it came for
	}
	switch {
	case refusal != nil && c.speaksHTTP2():
		c.refuseHTTP2(refusal)
		return
	case refusal != nil:
		c.refuseClient(refusal)
		return
	}
	if c.secure != nil && c.secure.ConnectionState().NegotiatedProtocol == tunnel.ALPNHTTP2 {
		c.serveHTTP2()
		return
	}
	c.serveHTTP1(timeout)
}

// clientDenied is the refusal of a client outside AllowClient.
func clientDenied() *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorDenied, Rule: "allow-client", Detail: "clients from this address are not served"}
}

// shutdown ends the connection unless a request is under way. Over HTTP/2 the
// requests under way come to their end.
func (c *clientConn) shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.streams != nil:
		c.streams.Shutdown()
	case c.waiting:
		c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// finish releases what the connection holds, and closes it unless the relay has it.
func (c *clientConn) finish() {
	if c.exchanges != nil {
		c.exchanges.Close()
	}
	if c.br != nil && !c.unread { // if unread, the transport may still read from it
		c.br.Reset(nil)
		readers.Put(c.br)
	}
	c.br = nil
	switch {
	case c.given:
	case c.unread:
		if c.secure != nil { // close_notify may have to wait for room behind the reply
			c.conn.SetWriteDeadline(time.Now().Add(DefaultLinger))
		}
		closeAfterReply(c.conn, c.content)
	default:
		c.conn.Close()
	}
	c.slot.Release()
	c.server.removeConn(c)
}

// allowsClient reports whether AllowClient has a client's address; an invalid one is
// in no network. It is not asked for unix sockets, whose mode says who may connect.
func (s *Server) allowsClient(addr netip.Addr) bool {
	if s.AllowClient == nil {
		return true
	}
	for _, p := range s.AllowClient {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// refuseClient refuses a client that is not served, before a head is read.
func (c *clientConn) refuseClient(e *tunnel.Error) { c.refuse(c.newRecord("", ""), e, false) }

// turnAway refuses a client although too many are being refused: it is told, as far as
// that is possible at once, and the connection is closed.
func (c *clientConn) turnAway() {
	rec := c.newRecord("", "")
	rec.SetError(c.refusal)
	c.conn.SetWriteDeadline(time.Now().Add(turnAwayTime))
	if c.secure != nil || c.server.writeRefusal(c.conn, c.refusal, false) != nil {
		rec.Status = 0
	}
	c.server.logRequest(rec)
	c.socket.Close()
}

// turnAwayTime bounds the writing of a reply that fits into an empty send queue.
const turnAwayTime = 10 * time.Millisecond

// newID returns a record's id: a random prefix, the same for all, and a number.
func (s *Server) newID() string {
	b := make([]byte, 0, 24)
	b = append(b, s.run.idPrefix...)
	b = append(b, '-')
	return string(strconv.AppendUint(b, s.run.ids.Add(1), 36))
}
