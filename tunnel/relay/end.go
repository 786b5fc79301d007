package relay

import (
	"net"
	"sync"
	"syscall"

	"culvert/tunnel/internal/sock"
)

// end is one of the two connections of a relay.
type end struct {
	conn  net.Conn
	by    ClosedBy        // the side that this is
	raw   syscall.RawConn // conn's descriptor; nil if conn is more than a socket
	inner syscall.RawConn // the descriptor beneath conn; nil if there is none
	once  sync.Once       // closes conn

	unwatch func() // ends the watch for a peer that vanishes

	broken bool // it was reset or could not be written to; guarded by relay.mu
	closed bool // the relay closed it, because it cannot be half-closed; guarded by relay.mu
}

func (e *end) init(conn net.Conn, by ClosedBy) {
	e.unwatch = func() {}
	e.conn, e.by = conn, by
	e.raw = sock.RawOf(e.conn)
	e.inner = e.raw
	if tcp := sock.TCPOf(conn); tcp != nil && e.raw == nil {
		e.inner = sock.RawOf(tcp)
	}
}

// watch ends the relay when the peer vanishes with bytes on their way to it. A connection
// of package sock reports that by itself.
func (e *end) watch(r *relay) {
	if tcp := sock.TCPOf(e.conn); tcp != nil {
		e.unwatch = sock.WatchPeer(tcp, func(err error) { r.fail(e, err) })
	}
}

// wake unblocks any pending read or write on e. The connection stays open until both
// directions have left it: a Close could block, as that of TLS does to send
// close_notify.
func (e *end) wake() {
	if e.conn.SetDeadline(sock.Past) != nil {
		e.close()
	}
}

func (e *end) close() { e.once.Do(func() { _ = e.conn.Close() }) }
