package relay

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/sock"
)

// direction is one way through a relay.
type direction struct {
	relay    *relay
	from, to *end
	early    []byte
	moved    atomic.Int64 // bytes written to to
	unread   atomic.Bool  // from is not read, and its reset would go unseen
	socket   socketDirection
}

func (d *direction) init(r *relay, from, to *end, early []byte) {
	d.relay, d.from, d.to, d.early = r, from, to, early
	d.socket.init(d)
}

// run is a direction's goroutine.
func (d *direction) run() {
	if d.sendEarly() && d.copy() {
		d.lookAway()
		d.relay.halfClose(d.from, d.to)
	}
	d.relay.leave()
}

// sendEarly writes what was read before the relay began, and lets it go.
func (d *direction) sendEarly() bool {
	early := d.early
	d.early = nil
	return len(early) == 0 || d.write(early)
}

// copyConn copies until end of file, and reports whether it came to that. The
// buffer is held while waiting, unless the conn offers a way to wait without.
func (d *direction) copyConn() (eof bool) {
	switch from := d.from.conn.(type) {
	case sock.Patient:
		return d.copyPatient(from)
	case sock.Stream:
		return d.copyStream(from)
	}
	buf := sock.GetBuffer()
	defer buf.Release()
	for {
		n, err := d.from.conn.Read(buf[:])
		if n > 0 && !d.write(buf[:n]) {
			return false
		}
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return d.relay.failedRead(d.from, err)
		}
	}
}

// copyStream is copyConn for a stream, which gives its own buffers out.
func (d *direction) copyStream(from sock.Stream) (eof bool) {
	switch _, err := from.WriteTo(directionWriter{d}); {
	case err == nil:
		return true
	case errors.Is(err, errStopped):
		return false
	default:
		return d.relay.failedRead(d.from, err)
	}
}

// directionWriter is where a direction's bytes go to.
type directionWriter struct{ d *direction }

func (w directionWriter) Write(b []byte) (int, error) {
	if !w.d.write(b) {
		return 0, errStopped
	}
	return len(b), nil
}

// copyPatient is copyConn, with a buffer only while it holds bytes.
func (d *direction) copyPatient(from sock.Patient) (eof bool) {
	for {
		err := d.passOn(from)
		if errors.Is(err, sock.ErrNothingYet) {
			err = from.AwaitMore()
		}
		switch {
		case errors.Is(err, errStopped):
			return false
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return d.relay.failedRead(d.from, err)
		}
	}
}

// errStopped says that a direction has ended for what happened at its other end.
var errStopped = errors.New("stopped")

// passOn writes what can be had in one piece.
func (d *direction) passOn(from sock.Patient) error {
	buf := sock.GetBuffer()
	defer buf.Release()
	n, err := from.ReadNow(buf[:])
	if n > 0 && !d.write(buf[:n]) {
		return errStopped
	}
	return err
}

func (d *direction) write(b []byte) bool {
	d.lookAway()
	n, err := d.to.conn.Write(b)
	d.unread.Store(false)
	d.count(n)
	if err != nil {
		d.relay.fail(d.to, err)
	}
	return err == nil
}

// count counts n bytes written, which is what progress means.
func (d *direction) count(n int) {
	if n <= 0 {
		return
	}
	d.moved.Add(int64(n))
	if r := d.relay; r.limits != (Limits{}) {
		r.progress.Store(int64(time.Since(r.started)))
	}
}

// lookAway is to be called before from is left unread for a time that the
// other side decides, and has the timer look at it instead.
func (d *direction) lookAway() {
	if _, stream := d.from.conn.(sock.Stream); d.from.heart == nil && !stream {
		return
	}
	d.unread.Store(true)
	if r := d.relay; !r.checking.Load() {
		r.mu.Lock()
		r.arm()
		r.mu.Unlock()
	}
}

// check looks for a reset of from if nobody else does.
func (d *direction) check() {
	if !d.unread.Load() {
		return
	}
	var err error
	if stream, ok := d.from.conn.(sock.Stream); ok {
		err = stream.Err()
	} else {
		err = d.from.pendingError()
	}
	if err != nil {
		d.relay.fail(d.from, err)
	}
}
