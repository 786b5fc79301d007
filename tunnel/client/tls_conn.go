package client

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// ErrTruncated is returned by reads from TLS if the connection ended without
// close_notify, so that anyone on the path may have cut it.
var ErrTruncated = errors.New("the connection ended without TLS's goodbye (close_notify): what came may not be all")

// clientTLS is the TLS conn of a Client. Reads return end of file only after the other
// side's close_notify (RFC 8446, section 6.1); if the connection ends without it, they
// fail with ErrTruncated, as with OpenSSL. CloseWrite sends close_notify, and reading
// goes on.
type clientTLS struct {
	*tls.Conn
	under     *watchedConn
	handshake *TLSHandshake
}

// Read distinguishes the two ends, which crypto/tls both reports as end of file.
func (c *clientTLS) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && (err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)) && c.under.ended.Load() {
		err = ErrTruncated
	}
	return n, err
}

// Only the caller sets deadlines. Those that crypto/tls sets by itself, of five seconds
// for close_notify, would cut off a half-close after bytes that the other side reads
// slowly.

// SetDeadline implements net.Conn. After a write that exceeded its deadline nothing more
// can be written.
func (c *clientTLS) SetDeadline(t time.Time) error { return c.under.Conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *clientTLS) SetReadDeadline(t time.Time) error { return c.under.Conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *clientTLS) SetWriteDeadline(t time.Time) error { return c.under.Conn.SetWriteDeadline(t) }

// closeNotifyTime bounds the time that Close takes to send close_notify. The send queue
// has room for it, unless the other side reads nothing; then waiting is pointless.
const closeNotifyTime = 200 * time.Millisecond

// Close sends close_notify if that is possible at once, and closes the conn.
func (c *clientTLS) Close() error {
	_ = c.under.Conn.SetWriteDeadline(time.Now().Add(closeNotifyTime))
	return c.Conn.Close()
}

// watchedConn keeps the first bytes read from its conn, and whether the conn has ended.
type watchedConn struct {
	net.Conn
	secured    bool        // the handshake has ended
	firstBytes []byte      // kept until the handshake has ended
	ended      atomic.Bool // end of file was read
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.secured && len(c.firstBytes) < maxFirstBytes {
		c.firstBytes = append(c.firstBytes, b[:min(n, maxFirstBytes-len(c.firstBytes))]...)
	}
	if err == io.EOF {
		c.ended.Store(true)
	}
	return n, err
}

// SetWriteDeadline does nothing: crypto/tls calls it for close_notify, see clientTLS.
func (c *watchedConn) SetWriteDeadline(time.Time) error { return nil }

// NetConn returns the underlying conn.
func (c *watchedConn) NetConn() net.Conn { return c.Conn }
