package tunnel

import (
	"net"
	"sync"
	"syscall"
)

// relayEnd is one of the relay's two conns.
type relayEnd struct {
	conn  net.Conn // what the bytes go through
	given net.Conn // conn or what wraps it: the one to close
	by    ClosedBy
	raw   syscall.RawConn // conn's descriptor; nil if conn is more than a socket
	heart syscall.RawConn // the socket within conn, which may be more; nil if there is none
	once  sync.Once       // closes given

	broken bool // guarded by relay.mu: it was reset or could not be written to
	closed bool // guarded by relay.mu: by us, being unable to half-close
}

func (e *relayEnd) init(conn net.Conn, by ClosedBy) {
	e.given, e.conn, e.by = conn, conn, by
	for {
		bare, ok := e.conn.(bareConn)
		if !ok {
			break
		}
		e.conn = bare.bareConn()
	}
	e.raw = socketOf(e.conn)
	e.heart = e.raw
	if tcp := tcpOf(conn); tcp != nil && e.raw == nil {
		e.heart = socketOf(tcp)
	}
}

// wake makes whoever waits for e return. The conn stays open until both
// directions have left it: a Close could block, as TLS does to say goodbye.
func (e *relayEnd) wake() {
	if e.conn.SetDeadline(past) != nil {
		e.close()
	}
}

func (e *relayEnd) close() { e.once.Do(func() { _ = e.given.Close() }) }

// halfCloser finds a CloseWrite that a wrapper may hide.
func (e *relayEnd) halfCloser() (halfCloser, bool) {
	if half, ok := e.given.(halfCloser); ok {
		return half, true
	}
	half, ok := e.conn.(halfCloser)
	return half, ok
}
