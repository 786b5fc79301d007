package tunnel

import (
	"net"
	"sync"
	"syscall"
)

// relayEnd is one of the relay's two conns.
type relayEnd struct {
	conn  net.Conn
	by    ClosedBy
	raw   syscall.RawConn // conn's descriptor; nil if conn is more than a socket
	heart syscall.RawConn // the socket within conn, which may be more; nil if there is none
	once  sync.Once       // closes conn

	broken bool // guarded by relay.mu: it was reset or could not be written to
	closed bool // guarded by relay.mu: by us, being unable to half-close
}

func (e *relayEnd) init(conn net.Conn, by ClosedBy) {
	e.conn, e.by = conn, by
	e.raw = socketOf(e.conn)
	e.heart = e.raw
	if tcp := tcpOf(conn); tcp != nil && e.raw == nil {
		e.heart = socketOf(tcp)
	}
}

// wake unblocks any pending read or write on e. The conn stays open until both
// directions have left it: a Close could block, as TLS does to send close_notify.
func (e *relayEnd) wake() {
	if e.conn.SetDeadline(past) != nil {
		e.close()
	}
}

func (e *relayEnd) close() { e.once.Do(func() { _ = e.conn.Close() }) }
