//go:build linux

package splice

import "sync"

// finisher calls done for tunnels that are over, one after the other. The
// loops do not do that themselves: done may write a log line to someone who
// does not read, and no tunnel is to wait for that.
type finisher struct {
	mu     sync.Mutex
	filled *sync.Cond
	over   []*Tunnel
	closed bool // to end when all is done
	ended  bool // has
	gone   chan struct{}
}

func newFinisher() *finisher {
	f := &finisher{gone: make(chan struct{})}
	f.filled = sync.NewCond(&f.mu)
	return f
}

// hand gives it tunnels that are over.
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

// run is the finisher's goroutine.
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
			t.done = nil // whoever keeps t shall not keep what done refers to
			done(t.result())
		}
		clear(batch)
		if cap(batch) > 1024 {
			batch = nil
		}
	}
}

// close waits for the last done.
func (f *finisher) close() {
	f.mu.Lock()
	f.closed = true
	gone := f.gone
	f.mu.Unlock()
	f.filled.Signal()
	<-gone
}
