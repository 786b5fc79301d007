package proxy

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/forward"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/listen"
	"culvert/tunnel/relay"
)

// requester is a client that sends requests, and the listener it came through.
type requester struct {
	at   *listening
	addr netip.Addr // invalid on a unix socket
	name string     // for the log
	user string     // whom a certificate has made it, "" = nobody
}

// newRecord begins a record; method and protocol are "" if no head was read.
func (r *requester) newRecord(method, protocol string) *accesslog.Record {
	return &accesslog.Record{Start: time.Now(), ID: r.at.server.newID(), Client: r.name, Listener: r.at.url,
		Method: strings.Clone(method), Protocol: protocol} // a clone, for the record outlives the head
}

// clientConn is one client connection while it speaks HTTP/1: heads are read
// from it one by one, until a CONNECT or an upgrade gives it to the relay.
type clientConn struct {
	requester
	server *Server
	conn   net.Conn
	socket net.Conn           // beneath conn, or conn itself
	secure *listen.Conn       // conn, if it speaks TLS
	local  bool               // it came over a unix socket
	br     *bufio.Reader      // over conn, pooled
	given  bool               // conn is the relay's, which closes it
	fresh  bool               // nothing was read yet
	unread bool               // there may be content that was not read
	plain  *forward.Exchanges // its requests that are no CONNECT; nil = there was none

	mu      sync.Mutex
	waiting bool     // for the first byte of a head
	streams *h2.Conn // nil unless it speaks HTTP/2
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

func newClientConn(at *listening, conn net.Conn) *clientConn {
	c := &clientConn{requester: requester{at: at, name: "unix"}, server: at.server, conn: conn, socket: conn, fresh: true, waiting: true}
	if secure, ok := conn.(*listen.Conn); ok {
		c.secure, c.socket = secure, secure.Socket()
	}
	if c.local = at.Addr().Network() == "unix"; c.local {
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
	ap, _ = netip.ParseAddrPort(conn.RemoteAddr().String()) // a conn of the caller's own making
	return ap
}

// serve serves a client connection until it ends or is given away.
func (c *clientConn) serve() {
	defer c.finish()
	timeout := cmp.Or(c.server.HeaderTimeout, DefaultHeaderTimeout)
	unwelcome := c.judgeClient()
	if c.secure != nil {
		limit := timeout
		if unwelcome != nil {
			limit = drainTime // long enough to be refused
		}
		if !c.shakeHands(limit, unwelcome) {
			return
		}
	}
	if c.secure != nil && c.secure.IsACMEChallenge() {
		return // that was all it came for
	}
	if unwelcome != nil {
		c.turnAway(unwelcome)
		return
	}
	if c.secure != nil && c.secure.ConnectionState().NegotiatedProtocol == tunnel.ALPNHTTP2 {
		c.serveHTTP2()
		return
	}
	c.serveHTTP1(timeout)
}

// judgeClient returns why a client is not served, whatever it would ask for.
func (c *clientConn) judgeClient() *tunnel.Error {
	switch {
	case !c.local && !c.server.allowsClient(c.addr):
		return clientDenied()
	case c.server.isCrowded(c.socket):
		return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorConnectionLimit, Rule: "descriptors",
			Detail: "this proxy has as many connections as it can carry"}
	}
	return nil
}

// clientDenied is the refusal of a client outside AllowClient.
func clientDenied() *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorDenied, Rule: "allow-client", Detail: "clients from this address are not served"}
}

// serveHTTP1 serves request after request.
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
			c.badHead(err)
			return
		}
		if head.Method == http.MethodConnect {
			c.at.serveConnect(newConnectRequest(c, head))
			return
		}
		if !c.serveForward(head) {
			return
		}
	}
}

// errHTTP2 is what readHead returns if the client speaks HTTP/2.
var errHTTP2 = errors.New("the client speaks HTTP/2")

// readHead waits for a head's first byte, and then for the rest of it.
func (c *clientConn) readHead(wait, rest time.Duration) (*wire.Request, error) {
	first := c.fresh
	c.fresh = false
	if !c.await(wait) {
		return nil, io.EOF
	}
	_, err := c.br.Peek(1)
	c.mu.Lock()
	c.waiting = false
	c.mu.Unlock()
	if err != nil {
		return nil, io.EOF // no byte came: closed without an answer
	}
	// Set in any case: drain may have set a deadline in the past.
	var until time.Time
	if rest > 0 {
		until = time.Now().Add(rest)
	}
	c.conn.SetReadDeadline(until)
	switch {
	case c.beginsTLS():
		return nil, tlsToPlain()
	case first && c.secure == nil && c.beginsHTTP2():
		return nil, errHTTP2
	}
	head, err := wire.ReadRequest(c.br, c.server.MaxHead)
	if err == nil {
		c.conn.SetReadDeadline(time.Time{})
	}
	return head, err
}

// await marks the connection as one that drain may close. It returns false if the
// Server is draining already.
func (c *clientConn) await(wait time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.run.draining.Load() && c.br.Buffered() == 0 {
		return false
	}
	c.waiting = true
	if wait > 0 {
		c.conn.SetReadDeadline(time.Now().Add(wait))
	}
	return true
}

// closeIfWaiting ends a connection on which no request is under way.
func (c *clientConn) closeIfWaiting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.streams != nil:
		c.streams.Shutdown()
	case c.waiting:
		c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// finish closes the connection unless the relay has it.
func (c *clientConn) finish() {
	if c.plain != nil {
		c.plain.Close()
	}
	if c.br != nil && !c.unread { // else the transport may still be reading from it
		c.br.Reset(nil)
		readers.Put(c.br)
	}
	c.br = nil
	switch {
	case c.given:
	case c.unread:
		if c.secure != nil { // whose close_notify has to find room behind the reply
			c.conn.SetWriteDeadline(time.Now().Add(DefaultLinger))
		}
		closeAfterReply(c.conn)
	default:
		c.conn.Close()
	}
	c.server.ended(c)
}

// give hands the conn to the relay, with the bytes that came behind the head.
func (c *clientConn) give() relay.Side {
	c.given = true
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

// allowsClient judges a client's address. It is not for unix sockets, whose mode
// has judged their clients. An invalid address is in no network.
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

// turnAway refuses a client that is not served, before a head was read.
func (c *clientConn) turnAway(e *tunnel.Error) { c.refuse(c.newRecord("", ""), e, false) }

// badHead refuses and logs a head that could not be read.
func (c *clientConn) badHead(err error) {
	var head *wire.HeadError
	var e *tunnel.Error
	switch {
	case errors.As(err, &head):
		e = forward.RequestError(err)
	case !errors.As(err, &e):
		return // not a byte came
	}
	rec := c.newRecord("", "")
	if e.Status == 0 {
		rec.SetError(e)
		rec.Status = 0
		c.server.logRequest(rec)
		return // the client left within the head: there is nobody to answer
	}
	c.refuse(rec, e, false)
}

// refuse answers with an error, logs it, and closes the connection so that the
// client can read the answer. headOnly leaves the body out, as a reply to HEAD
// must.
func (c *clientConn) refuse(rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	c.refuseOn(c.conn, rec, e, headOnly)
}

// refuseOn is refuse on conn, which is c.conn or the socket beneath it.
func (c *clientConn) refuseOn(conn net.Conn, rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	rec.SetError(e)
	timeout := cmp.Or(c.server.HeaderTimeout, DefaultHeaderTimeout)
	if timeout > 0 {
		conn.SetWriteDeadline(time.Now().Add(timeout))
	}
	if err := c.server.writeRefusal(conn, e, headOnly); err != nil {
		rec.Status = 0
	}
	c.server.logRequest(rec)
	closeAfterReply(conn)
}

// CheckName returns why a name cannot be Server.Name, which is used in Via as a
// pseudonym (RFC 9110, section 7.6.3) and in Proxy-Status.
func CheckName(name string) error {
	if !wire.IsToken(name) || len(name) > 255 {
		return fmt.Errorf("%q is not a token: letters, digits and - . _ only", name)
	}
	return nil
}
