package tunnel

import (
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/sock"
	"net"
)

// streamConn is a tunnel over HTTP/2 as relays have it.
type streamConn struct {
	*h2.Stream
	code h2.ErrCode // of its reset
}

func newStreamConn(s *h2.Stream, code h2.ErrCode) net.Conn { return &streamConn{s, code} }

// Abort implements sock.Aborter: it passes a reset on, behind what was written
// (RFC 9113, section 8.5).
func (c *streamConn) Abort() { c.Reset(c.code) }

var (
	_ sock.Aborter = (*streamConn)(nil)
	_ sock.Stream  = (*streamConn)(nil)
)
