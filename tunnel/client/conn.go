package client

import (
	"errors"
	"net"
	"net/netip"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"
)

// Conn is an open tunnel. Bytes that the target sent on the heels of the last
// proxy's reply are read first: nothing is lost to a buffer (RULES 7).
type Conn struct {
	net.Conn                  // to the first hop, or to the target
	early    []byte           // read before the tunnel was handed out; nil = none
	addr     netip.AddrPort   // of the first hop or the target; invalid for a unix socket
	target   tunnel.Authority // for words in errors
	hop      string           // the last proxy, for words in errors; "" = direct
	route    tunnel.Route     // that was taken
}

// NewConn returns conn as an open tunnel of which early was read already. Closing it
// closes conn.
func NewConn(conn net.Conn, early []byte) *Conn { return &Conn{Conn: conn, early: early} }

// Route is the one of the Client's routes that the tunnel took.
func (c *Conn) Route() tunnel.Route { return c.route }

// NextHop is the address connected to: the first proxy's, or the target's where
// the route is direct. It is not valid for a unix socket.
func (c *Conn) NextHop() netip.AddrPort { return c.addr }

// Buffered is how many bytes were read before the tunnel was open, and not since.
func (c *Conn) Buffered() int { return len(c.early) }

// Target is what the tunnel leads to.
func (c *Conn) Target() tunnel.Authority { return c.target }

// LastHop names the proxy that opened the tunnel; "" = the route is direct.
func (c *Conn) LastHop() string { return c.hop }

// Read reads the early bytes first, then from the network.
func (c *Conn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil // an idle tunnel keeps no buffer
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite passes end of file on to the target and keeps reading. It is
// errors.ErrUnsupported for a conn that can only be closed whole.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(sock.HalfCloser); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the conn beneath; reading from it passes over early bytes.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// TakeEarly hands the bytes that came before the tunnel was open to the caller, who
// passes them on first. After it NetConn has all that follows.
func (c *Conn) TakeEarly() []byte {
	early := c.early
	c.early = nil
	return early
}
