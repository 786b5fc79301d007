package probe

import (
	"bytes"
	"errors"
	"net"
	"time"

	"culvert/tunnel/internal/sock"
)

// maxTapped bounds what is kept of one connection in each direction.
const maxTapped = 512 << 10

// tapped is what went over a connection that speaks HTTP/2, until the end of the
// tunnel.
type tapped struct {
	conn       int // the number of the connection, from 1
	pieces     []tappedPiece
	sent, read int    // bytes kept
	left       string // how the proxy left it; "" = it did not
	cut        bool   // more came than was kept
}

// tappedPiece is what one read or write moved.
type tappedPiece struct {
	at    Micros // since Report.Started
	sent  bool
	bytes []byte
}

// received joins all that was read.
func (t *tapped) received() []byte {
	all := make([]byte, 0, t.read)
	for _, p := range t.pieces {
		if !p.sent {
			all = append(all, p.bytes...)
		}
	}
	return all
}

// tap is a conn that records what goes over it.
type tap struct {
	net.Conn
	rec *recording
	on  *tapped
}

// tap records a connection that is about to speak HTTP/2.
func (r *recording) tap(conn net.Conn) net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	on := &tapped{conn: r.connections}
	r.taps = append(r.taps, on)
	return &tap{conn, r, on}
}

// closeTaps ends the recording before the Prober closes the connection, which is no
// doing of the proxy's.
func (r *recording) closeTaps() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tapsClosed = true
}

// Read records what it returns.
func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.keep(&t.on.read, false, b[:n], err)
	return n, err
}

// Write records b before it is sent, and so before any answer to it.
func (t *tap) Write(b []byte) (int, error) {
	t.keep(&t.on.sent, true, b, nil)
	return t.Conn.Write(b)
}

func (t *tap) keep(kept *int, sent bool, b []byte, err error) {
	r := t.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tapsClosed {
		return
	}
	if left := leftBy(err); left != "" && t.on.left == "" {
		t.on.left, r.left = left, left
	}
	t.on.cut = t.on.cut || len(b) > maxTapped-*kept
	if b = b[:min(len(b), maxTapped-*kept)]; len(b) == 0 {
		return
	}
	*kept += len(b)
	if n := len(t.on.pieces); n >= maxSegments && t.on.pieces[n-1].sent == sent {
		t.on.pieces[n-1].bytes = append(t.on.pieces[n-1].bytes, b...)
		return
	}
	t.on.pieces = append(t.on.pieces, tappedPiece{micros(time.Since(r.started)), sent, bytes.Clone(b)})
}

// CloseWrite half-closes the conn, if that is possible.
func (t *tap) CloseWrite() error {
	if half, ok := t.Conn.(sock.HalfCloser); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the conn beneath TLS, or beneath the tap.
func (t *tap) NetConn() net.Conn {
	if within, ok := t.Conn.(interface{ NetConn() net.Conn }); ok {
		return within.NetConn()
	}
	return t.Conn
}
