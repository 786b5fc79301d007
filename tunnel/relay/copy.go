package relay

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/sock"
)

// direction is one way through a relay.
type direction struct {
	relay    *relay
	from, to *end
	early    []byte
	moved    atomic.Int64 // bytes written to to
	unread   atomic.Bool  // from is not being read, so that its reset has to be checked for
	socket   socketDirection
}

func (d *direction) init(r *relay, from, to *end, early []byte) {
	d.relay, d.from, d.to, d.early = r, from, to, early
	d.socket.init(d)
}

// run is the goroutine of a direction.
func (d *direction) run() {
	defer d.relay.leave()
	defer panics.Recover("a relay", func() { d.relay.End(ClosedByError) })
	if d.sendEarly() && d.copy() {
		d.stopReading()
		d.relay.halfClose(d.from, d.to)
	}
}

// sendEarly writes the early bytes, and keeps no reference to them.
func (d *direction) sendEarly() bool {
	early := d.early
	d.early = nil
	return len(early) == 0 || d.write(early)
}

// copyConn copies until end of file, and reports whether that was reached. It holds a
// buffer while it waits, unless the connection can be waited for without one.
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

// copyStream is copyConn for a stream, which writes from its own buffers.
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

// directionWriter writes to the far end of a direction.
type directionWriter struct{ d *direction }

func (w directionWriter) Write(b []byte) (int, error) {
	if !w.d.write(b) {
		return 0, errStopped
	}
	return len(b), nil
}

// copyPatient is copyConn with a buffer only while there are bytes in it.
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

// errStopped means that a direction has ended because its bytes could not be written.
var errStopped = errors.New("stopped")

// passOn copies the bytes that are available, as far as they fit into one buffer.
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
	d.stopReading()
	n, err := d.to.conn.Write(b)
	d.unread.Store(false)
	d.count(n)
	if err != nil {
		d.relay.fail(d.to, err)
	}
	return err == nil
}

// count counts n bytes as written. Nothing else is progress.
func (d *direction) count(n int) {
	if n <= 0 {
		return
	}
	d.moved.Add(int64(n))
	if r := d.relay; r.limits != (Limits{}) {
		r.progress.Store(int64(time.Since(r.started)))
	}
}

// stopReading is called before from is left unread for a time that depends on the
// other side. Meanwhile the timer checks from for a reset.
func (d *direction) stopReading() {
	if _, stream := d.from.conn.(sock.Stream); d.from.inner == nil && !stream {
		return
	}
	d.unread.Store(true)
	if r := d.relay; !r.checking.Load() {
		r.mu.Lock()
		r.arm()
		r.mu.Unlock()
	}
}

// check fails the relay if from was reset while it is not being read.
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
