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
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/listen"
)

// requester is a client that sends requests, and the listener it came through.
type requester struct {
	listener   *listener
	addr netip.Addr // invalid on a unix socket
	name string     // for the log
	user string     // whom a certificate has made it, "" = nobody
}

// newRecord begins a record; method and protocol are "" if no head was read.
func (r *requester) newRecord(method, protocol string) *accesslog.Record {
	return &accesslog.Record{Start: time.Now(), ID: r.listener.server.newID(), Client: r.name, Listener: r.listener.url,
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
	exchanges  *forward.Exchanges // its requests that are no CONNECT; nil = there was none

	mu      sync.Mutex
	waiting bool     // for the first byte of a head
	streams *h2.Conn // nil unless it speaks HTTP/2
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
	ap, _ = netip.ParseAddrPort(conn.RemoteAddr().String()) // a conn of the caller's own making
	return ap
}

// serve serves a client connection until it ends or is given away.
func (c *clientConn) serve() {
	defer c.finish()
	timeout := cmp.Or(c.server.HeaderTimeout, DefaultHeaderTimeout)
	unwelcome := c.checkClient()
	if c.secure != nil {
		limit := timeout
		if unwelcome != nil {
			limit = drainTime // long enough to be refused
		}
		if !c.handshake(limit, unwelcome) {
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
func (c *clientConn) checkClient() *tunnel.Error {
	switch {
	case !c.local && !c.server.allowsClient(c.addr):
		return clientDenied()
	case c.server.isShortOfDescriptors(c.socket):
		return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorConnectionLimit, Rule: "descriptors",
			Detail: "this proxy has as many connections as it can carry"}
	}
	return nil
}

// clientDenied is the refusal of a client outside AllowClient.
func clientDenied() *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorDenied, Rule: "allow-client", Detail: "clients from this address are not served"}
}

// closeIfWaiting ends a connection on which no request is under way.
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

// finish closes the connection unless the relay has it.
func (c *clientConn) finish() {
	if c.exchanges != nil {
		c.exchanges.Close()
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
	c.server.removeConn(c)
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

// newID makes a record's id: the process's random prefix and a count.
func (s *Server) newID() string {
	b := make([]byte, 0, 24)
	b = append(b, s.run.prefix...)
	b = append(b, '-')
	return string(strconv.AppendUint(b, s.run.ids.Add(1), 36))
}
