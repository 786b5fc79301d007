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

// openTunnel holds what was read from the open tunnel, and how it ended.
type openTunnel struct {
	sent      []byte
	data      []byte    // read from the tunnel, the glued bytes first
	glued     int       // how many bytes of data came together with the reply
	reads     []segment // of data, without the glued bytes
	firstByte time.Time
	ended     time.Time
	wait      time.Duration // 0 = nothing was read
	end       tunnelEnd
	err       error // the error behind end, if any
}

// tunnelEnd is the state of a tunnel when the Prober stopped reading.
type tunnelEnd string

const (
	endNotWatched tunnelEnd = "not watched"
	endOpen       tunnelEnd = "still open"
	endFull       tunnelEnd = "more than probe reads"
	endClosed     tunnelEnd = "closed"
	endTruncated  tunnelEnd = "cut off, without TLS's close_notify"
	endReset      tunnelEnd = "reset"
)

// readTunnel sends the given bytes and reads until wait is over, the tunnel ends,
// or maxTunnelBytes have come. The caller closes conn.
func readTunnel(ctx context.Context, conn *client.Conn, send []byte, wait time.Duration) *openTunnel {
	o := &openTunnel{wait: wait, end: endNotWatched}
	o.data = conn.TakeEarly()
	o.data = append([]byte(nil), o.data[:min(len(o.data), maxTunnelBytes)]...)
	o.glued = len(o.data)
	if wait > 0 {
		// The wait is a context, so that its end and a cancellation take the same
		// path, and neither overwrites the other's deadline.
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		release := sock.InterruptOnDone(ctx, conn)
		defer release()
		if len(send) > 0 {
			o.sent = send
			_, o.err = conn.Write(send)
		}
		o.read(conn)
	}
	o.ended = time.Now()
	return o
}

func (o *openTunnel) read(conn *client.Conn) {
	buf := make([]byte, maxTunnelBytes)
	for len(o.data) < maxTunnelBytes {
		n, err := conn.Read(buf[:maxTunnelBytes-len(o.data)])
		if n > 0 && o.firstByte.IsZero() {
			o.firstByte = time.Now()
		}
		if n > 0 {
			o.reads = append(o.reads, segment{time.Now(), bytes.Clone(buf[:n])})
		}
		o.data = append(o.data, buf[:n]...)
		switch {
		case err == nil:
			continue
		case neterr.Timeout(err):
			o.end = endOpen
		case errors.Is(err, io.EOF):
			o.end = endClosed
		case errors.Is(err, client.ErrTruncated):
			o.end, o.err = endTruncated, err
		default:
			o.end, o.err = endReset, err
		}
		return
	}
	o.end = endFull
}

// page describes the page that a web server sent instead of a tunnel; "" = there is
// none. Only bytes that came unasked can be one, so that the answer of a web server
// at the end of the tunnel is not mistaken for it.
func (o *openTunnel) page(reply *wire.Reply) string {
	unasked := o.data
	if len(o.sent) > 0 {
		unasked = o.data[:o.glued]
	}
	return page.Content(unasked).InsteadOfTunnel(reply, len(o.data))
}
