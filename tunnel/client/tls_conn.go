package client

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// ErrTruncated is what reading from TLS within a tunnel ends with where the
// connection just ended, as anybody on the way could have made it.
var ErrTruncated = errors.New("the connection ended without TLS's goodbye (close_notify): what came may not be all")

// clientTLS is TLS as a Client speaks it. End of file is what the other side said
// (RFC 8446, section 6.1: close_notify); where the connection just ends, reads
// fail with ErrTruncated, as with OpenSSL. CloseWrite says close_notify and goes
// on reading.
type clientTLS struct {
	*tls.Conn
	under     *watchedConn
	handshake *TLSHandshake
}

// Read tells the two ends apart: package tls takes either for end of file.
func (c *clientTLS) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && (err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)) && c.under.ended.Load() {
		err = ErrTruncated
	}
	return n, err
}

// The deadlines are the caller's alone. Those that package tls sets by itself,
// five seconds for its goodbye, would cut off a half-close behind bytes that the
// other side takes slowly.

// SetDeadline implements net.Conn. After a write that failed for its deadline
// nothing more can be written.
func (c *clientTLS) SetDeadline(t time.Time) error { return c.under.Conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *clientTLS) SetReadDeadline(t time.Time) error { return c.under.Conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *clientTLS) SetWriteDeadline(t time.Time) error { return c.under.Conn.SetWriteDeadline(t) }

// closeNotifyTime bounds the close_notify of a Close. It goes into the send queue,
// unless the other side reads nothing; then it is not worth waiting for.
const closeNotifyTime = 200 * time.Millisecond

// Close says close_notify if that is possible at once, and closes the conn.
func (c *clientTLS) Close() error {
	_ = c.under.Conn.SetWriteDeadline(time.Now().Add(closeNotifyTime))
	return c.Conn.Close()
}

// watchedConn notes how its conn began, and that it came to an end.
type watchedConn struct {
	net.Conn
	secured    bool   // the handshake is over
	firstBytes []byte // until then
	ended      atomic.Bool
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

// SetWriteDeadline is package tls's, for its goodbye: see clientTLS.
func (c *watchedConn) SetWriteDeadline(time.Time) error { return nil }

// NetConn returns the conn beneath.
func (c *watchedConn) NetConn() net.Conn { return c.Conn }
