//go:build linux

package splice

import (
	"sync"

	"culvert/tunnel/internal/panics"
)

// finisher calls done for tunnels that are over, one after the other. The loops do not
// do so themselves, because done may block, for example in the write of a log line, and
// no tunnel should have to wait for it.
type finisher struct {
	mu     sync.Mutex
	filled *sync.Cond
	over   []*Tunnel
	closed bool          // run returns once over is empty
	ended  bool          // run has returned
	gone   chan struct{} // closed when run returns
}

func newFinisher() *finisher {
	f := &finisher{gone: make(chan struct{})}
	f.filled = sync.NewCond(&f.mu)
	return f
}

// hand takes tunnels that are over. It does not wait for their done.
func (f *finisher) hand(over ...*Tunnel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = append(f.over, over...)
	if f.ended {
		f.ended, f.gone = false, make(chan struct{})
		go f.run()
	}
	f.filled.Signal()
}

// run is the goroutine of the finisher.
func (f *finisher) run() {
	var batch []*Tunnel
	for {
		f.mu.Lock()
		for len(f.over) == 0 && !f.closed {
			f.filled.Wait()
		}
		batch, f.over = f.over, batch[:0]
		if len(batch) == 0 {
			f.ended = true
			close(f.gone)
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		for _, t := range batch {
			done := t.done
			t.done = nil // a reference to t must not keep alive what done refers to
			recovered(func() { done(t.result()) })
		}
		clear(batch)
		if cap(batch) > 1024 {
			batch = nil
		}
	}
}

// close ends the finisher after the last done has returned.
func (f *finisher) close() {
	f.mu.Lock()
	f.closed = true
	gone := f.gone
	f.mu.Unlock()
	f.filled.Signal()
	<-gone
}

// recovered calls f, whose panic is that of one tunnel's owner.
func recovered(f func()) {
	defer panics.Recover("the end of a tunnel", nil)
	f()
}
