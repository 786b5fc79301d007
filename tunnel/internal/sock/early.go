package sock

import (
	"errors"
	"net"
)

// Early is a connection whose first bytes were read already. Closing it closes
// the connection within.
type Early struct {
	net.Conn
	Unread []byte // returned by Read before anything else
}

// Read returns the unread bytes first, then reads from the connection within.
func (c *Early) Read(b []byte) (int, error) {
	if len(c.Unread) > 0 {
		n := copy(b, c.Unread)
		c.Unread = c.Unread[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite half-closes the connection within. It returns errors.ErrUnsupported
// if that can only be closed as a whole.
func (c *Early) CloseWrite() error {
	if half, ok := c.Conn.(HalfCloser); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the connection within. A read from it skips the unread bytes.
func (c *Early) NetConn() net.Conn { return c.Conn }
