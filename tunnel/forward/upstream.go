package forward

import (
	"bufio"
	"net"
	"sync"
	"time"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/sock"
)

// Readers over connections to origins and parents. A kept connection has none.
var upstreamReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

// upstream is a connection to an origin or a parent. One exchange at a time uses it.
type upstream struct {
	conn     net.Conn
	addr     string // of the peer
	fullName string // see NamedConn; "" = none
	key      poolKey
	slot     quota.Slot    // its place in the table; empty if the request's tunnel holds the descriptor
	br       *bufio.Reader // over the upstream; nil while it is kept
	reused   bool          // it carried a request before
	closes   uint64        // of the pool, when the connection was made
	x        *exchange     // whose reply is read

	// Of a kept connection; guarded by pool.mu.
	since        time.Time
	older, newer *upstream // of all
	below, above *upstream // of the same key: the older and the newer one
}

// connected gives the upstream its connection. A stream of a connection that is shared
// with others holds no descriptor.
func (u *upstream) connected(conn net.Conn) {
	u.conn, u.addr = conn, conn.RemoteAddr().String()
	if named, ok := conn.(NamedConn); ok {
		u.conn, u.fullName = named.Conn, named.FullName
	}
	if sock.OwnsDescriptor(u.conn) {
		u.slot.Connected()
	} else {
		u.slot.Release()
	}
}

// use prepares the connection for an exchange.
func (u *upstream) use(x *exchange) {
	u.x = x
	u.br = upstreamReaders.Get().(*bufio.Reader)
	u.br.Reset(u)
}

// rest gives the reader back, which must not be used any more.
func (u *upstream) rest() {
	if u.br != nil {
		u.br.Reset(nil)
		upstreamReaders.Put(u.br)
	}
	u.x, u.br = nil, nil
}

// Read may wait, so it first flushes to the client what there is of its reply.
func (u *upstream) Read(b []byte) (int, error) {
	u.x.pending.flush()
	return u.conn.Read(b)
}

// close closes the connection, whose descriptor is counted no more.
func (u *upstream) close() {
	u.conn.Close()
	u.slot.Release()
}

// Drop implements quota.Holder: it closes a connection that is kept. The pool finds that
// out before the connection is used again.
func (u *upstream) Drop(bool) { u.conn.Close() }

var _ quota.Holder = (*upstream)(nil)

// socket returns the conn beneath a tunnel through a parent, or the conn itself.
func (u *upstream) socket() net.Conn {
	if through, ok := u.conn.(*client.Conn); ok {
		return through.NetConn()
	}
	return u.conn
}
