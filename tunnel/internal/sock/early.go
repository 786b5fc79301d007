package sock

import (
	"errors"
	"net"
)

// Early is a conn of which the first bytes were read already: Read returns these
// first. It is closed as the conn within is.
type Early struct {
	net.Conn
	Unread []byte // what Read returns first
}

// Read returns the unread bytes first, then reads from the conn within.
func (c *Early) Read(b []byte) (int, error) {
	if len(c.Unread) > 0 {
		n := copy(b, c.Unread)
		c.Unread = c.Unread[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite half-closes the conn within. It is errors.ErrUnsupported for one
// that can only be closed whole.
func (c *Early) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the conn within; reading from it passes over unread bytes.
func (c *Early) NetConn() net.Conn { return c.Conn }
