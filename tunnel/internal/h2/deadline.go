package h2

import (
	"net"
	"sync"
	"time"
)

// deadline is the read or write deadline of a stream. The mutex of the connection guards
// it.
type deadline struct {
	at    time.Time
	timer *time.Timer // nil = there is no deadline to wait for
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set moves the deadline, and wakes the goroutines that wait so that they check it.
func (d *deadline) set(t time.Time, waiting *sync.Cond) {
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			waiting.L.Lock()
			defer waiting.L.Unlock()
			if d.timer == timer {
				d.at = past // even if the clock was set back
			}
			waiting.Broadcast()
		})
		d.timer = timer
	}
	waiting.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error { return s.setDeadlines(t, true, true) }

// SetReadDeadline bounds Read, WriteTo and ReadHead, including calls that wait.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, true, false) }

// SetWriteDeadline bounds Write, including a call that waits.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, false, true) }

func (s *Stream) setDeadlines(t time.Time, read, write bool) error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if read {
		s.readDeadline.set(t, &s.readable)
	}
	if write {
		s.writeDeadline.set(t, &s.writable)
	}
	return nil
}
