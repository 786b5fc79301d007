package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
)

// maxTunnelBytes bounds what a Prober reads from an open tunnel.
const maxTunnelBytes = 4 << 10

// openTunnel is what was read from the open tunnel, and how it ended.
type openTunnel struct {
	sent    []byte
	data    []byte    // what was read, the glued bytes first
	glued   int       // bytes of data that came with the reply
	reads   []segment // of data, behind those
	firstIn time.Time
	ended   time.Time
	wait    time.Duration // 0 = not listened
	end     tunnelEnd
	err     error // what the reset was
}

// tunnelEnd is how listening to a tunnel ended.
type tunnelEnd string

const (
	endUnwatched tunnelEnd = "not watched"
	endOpen      tunnelEnd = "still open"
	endFull      tunnelEnd = "more than probe reads"
	endClosed    tunnelEnd = "closed"
	endTruncated tunnelEnd = "cut off, without TLS's close_notify"
	endReset     tunnelEnd = "reset"
)

// listenTo sends what is to be sent and reads until wait is over, the tunnel
// ends, or enough came. The conn stays the caller's to close.
func listenTo(ctx context.Context, conn *client.Conn, send []byte, wait time.Duration) *openTunnel {
	l := &openTunnel{wait: wait, end: endUnwatched}
	l.data = conn.TakeEarly()
	l.data = append([]byte(nil), l.data[:min(len(l.data), maxTunnelBytes)]...)
	l.glued = len(l.data)
	if wait > 0 {
		// The wait is a context, so that its end and a cancellation go the
		// same way and neither deadline undoes the other.
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		release := sock.InterruptOnDone(ctx, conn)
		defer release()
		if len(send) > 0 {
			l.sent = send
			_, l.err = conn.Write(send)
		}
		l.read(conn)
	}
	l.ended = time.Now()
	return l
}

func (l *openTunnel) read(conn *client.Conn) {
	buf := make([]byte, maxTunnelBytes)
	for len(l.data) < maxTunnelBytes {
		n, err := conn.Read(buf[:maxTunnelBytes-len(l.data)])
		if n > 0 && l.firstIn.IsZero() {
			l.firstIn = time.Now()
		}
		if n > 0 {
			l.reads = append(l.reads, segment{time.Now(), bytes.Clone(buf[:n])})
		}
		l.data = append(l.data, buf[:n]...)
		switch {
		case err == nil:
			continue
		case neterr.Timeout(err):
			l.end = endOpen
		case errors.Is(err, io.EOF):
			l.end = endClosed
		case errors.Is(err, client.ErrTruncated):
			l.end, l.err = endTruncated, err
		default:
			l.end, l.err = endReset, err
		}
		return
	}
	l.end = endFull
}

// page says what makes the tunnel's first bytes a page that a web server sent
// instead of a tunnel, or "". Only bytes that nobody asked for can be one, so
// that a tunnel to a web server is not mistaken for it.
func (l *openTunnel) page(reply *wire.Reply) string {
	unasked := l.data
	if len(l.sent) > 0 {
		unasked = l.data[:l.glued]
	}
	return page.Content(unasked).InsteadOfTunnel(reply, len(l.data))
}
