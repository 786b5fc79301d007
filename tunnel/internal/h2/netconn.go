package h2

import (
	"net"

	"culvert/tunnel/internal/sock"
)

// netConn is a stream that relays can abort.
type netConn struct {
	*Stream
	code ErrCode // of Abort
}

// NetConn returns the stream as a connection for a relay. Its Abort resets the stream with
// code. The caller closes the connection in place of the stream.
func NetConn(s *Stream, code ErrCode) net.Conn { return &netConn{s, code} }

// Abort implements sock.Aborter: it resets the stream after the bytes that were written
// (RFC 9113, section 8.5).
func (c *netConn) Abort() { c.Reset(c.code) }

var (
	_ sock.Aborter = (*netConn)(nil)
	_ sock.Stream  = (*netConn)(nil)
)
