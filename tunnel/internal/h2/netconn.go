package h2

import (
	"net"

	"culvert/tunnel/internal/sock"
)

// netConn is a tunnel over HTTP/2 as relays have it.
type netConn struct {
	*Stream
	code ErrCode // of its reset
}

func NetConn(s *Stream, code ErrCode) net.Conn { return &netConn{s, code} }

// Abort implements sock.Aborter: it passes a reset on, behind what was written
// (RFC 9113, section 8.5).
func (c *netConn) Abort() { c.Reset(c.code) }

var (
	_ sock.Aborter = (*netConn)(nil)
	_ sock.Stream  = (*netConn)(nil)
)
