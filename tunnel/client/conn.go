package client

import (
	"errors"
	"net"
	"net/netip"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"
)

// Conn is an open tunnel. Reading begins with the bytes that were received together
// with the last proxy's reply: none is left in a buffer. The user of a Conn
// closes it.
type Conn struct {
	net.Conn                  // to the first hop, or to the target
	early    []byte           // read before the tunnel was open; nil = none left
	addr     netip.AddrPort   // of the first hop or the target; invalid for a Unix socket
	target   tunnel.Authority // named in errors
	hop      string           // the last proxy, named in errors; "" = direct
	route    tunnel.Route     // the route taken
}

// NewConn returns an open tunnel over conn, from which the early bytes were read
// already. Closing the Conn closes conn.
func NewConn(conn net.Conn, early []byte) *Conn { return &Conn{Conn: conn, early: early} }

// Route returns the route that the tunnel takes, one of the Client's.
func (c *Conn) Route() tunnel.Route { return c.route }

// NextHop returns the address of the first proxy, or the target's if the route is
// direct. It is invalid for a Unix socket.
func (c *Conn) NextHop() netip.AddrPort { return c.addr }

// Buffered returns how many of the bytes that were received before the tunnel was
// open have not been read yet.
func (c *Conn) Buffered() int { return len(c.early) }

// Target returns the host and port that the tunnel leads to.
func (c *Conn) Target() tunnel.Authority { return c.target }

// LastHop returns the name of the proxy that opened the tunnel; "" = the route is
// direct.
func (c *Conn) LastHop() string { return c.hop }

// Read returns the early bytes first, then reads from the network.
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

// CloseWrite sends end of file to the target; reading goes on. It returns
// errors.ErrUnsupported for a conn that cannot be half-closed.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(sock.HalfCloser); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the underlying conn. Reading from it skips the early bytes.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// TakeEarly returns the early bytes that have not been read, and removes them from
// the Conn: all that follows can then be read from NetConn.
func (c *Conn) TakeEarly() []byte {
	early := c.early
	c.early = nil
	return early
}
