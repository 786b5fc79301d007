package relay

import (
	"net"
	"sync"
	"syscall"

	"culvert/tunnel/internal/sock"
)

// end is one of the relay's two conns.
type end struct {
	conn  net.Conn
	by    ClosedBy
	raw   syscall.RawConn // conn's descriptor; nil if conn is more than a socket
	heart syscall.RawConn // the socket within conn, which may be more; nil if there is none
	once  sync.Once       // closes conn

	broken bool // guarded by relay.mu: it was reset or could not be written to
	closed bool // guarded by relay.mu: by us, being unable to half-close
}

func (e *end) init(conn net.Conn, by ClosedBy) {
	e.conn, e.by = conn, by
	e.raw = sock.RawOf(e.conn)
	e.heart = e.raw
	if tcp := sock.TCPOf(conn); tcp != nil && e.raw == nil {
		e.heart = sock.RawOf(tcp)
	}
}

// wake unblocks any pending read or write on e. The conn stays open until both
// directions have left it: a Close could block, as TLS does to send close_notify.
func (e *end) wake() {
	if e.conn.SetDeadline(sock.Past) != nil {
		e.close()
	}
}

func (e *end) close() { e.once.Do(func() { _ = e.conn.Close() }) }
