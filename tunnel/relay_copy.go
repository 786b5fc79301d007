package tunnel

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// relayBuffer is what one read of a relay fills at most.
type relayBuffer [32 << 10]byte

var relayBuffers = sync.Pool{New: func() any { return new(relayBuffer) }}

// relayDirection is one way through a relay.
type relayDirection struct {
	relay    *relay
	from, to *relayEnd
	early    []byte
	moved    atomic.Int64 // bytes written to to
	unread   atomic.Bool  // from is not read, and its reset would go unseen
	socket   socketDirection
}

func (d *relayDirection) init(r *relay, from, to *relayEnd, early []byte) {
	d.relay, d.from, d.to, d.early = r, from, to, early
	d.socket.init(d)
}

// run is a direction's goroutine.
func (d *relayDirection) run() {
	if d.sendEarly() && d.copy() {
		d.lookAway()
		d.relay.halfClose(d.from, d.to)
	}
	d.relay.leave()
}

// sendEarly writes what was read before the relay began, and lets it go.
func (d *relayDirection) sendEarly() bool {
	early := d.early
	d.early = nil
	return len(early) == 0 || d.write(early)
}

// copyConn copies until end of file, and reports whether it came to that. The
// buffer is held while waiting: a conn that is more than a socket offers no
// way to wait without.
func (d *relayDirection) copyConn() (eof bool) {
	buf := relayBuffers.Get().(*relayBuffer)
	defer relayBuffers.Put(buf)
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

func (d *relayDirection) write(b []byte) bool {
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
func (d *relayDirection) count(n int) {
	if n <= 0 {
		return
	}
	d.moved.Add(int64(n))
	if r := d.relay; r.limits != (relayLimits{}) {
		r.progress.Store(int64(time.Since(r.started)))
	}
}

// lookAway is to be called before from is left unread for a time that the
// other side decides, and has the timer look at it instead.
func (d *relayDirection) lookAway() {
	if d.from.heart == nil {
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
func (d *relayDirection) check() {
	if !d.unread.Load() {
		return
	}
	if err := d.from.pendingError(); err != nil {
		d.relay.fail(d.from, err)
	}
}
