//go:build linux

package splice

import (
	"runtime"
	"sync"
	"syscall"
)

const (
	mostLoops = 4   // by default
	mostPipes = 256 // lent at a time, by all loops together
	keepPipes = 32  // empty ones kept open, by all loops together
)

// Loops relays tunnels on a fixed set of epoll loops.
type Loops struct {
	loops    []*loop
	finisher *finisher
	running  sync.WaitGroup
}

// Start starts n loops; n <= 0 means one for each processor Go may use, up to
// four. The caller closes what it returns.
func Start(n int) (*Loops, error) {
	if n <= 0 {
		n = min(runtime.GOMAXPROCS(0), mostLoops)
	}
	ls := &Loops{finisher: newFinisher()}
	for range n {
		l, err := newLoop(ls.finisher, n)
		if err != nil {
			for _, l := range ls.loops {
				l.free()
			}
			return nil, err
		}
		ls.loops = append(ls.loops, l)
	}
	go ls.finisher.run()
	for _, l := range ls.loops {
		ls.running.Go(l.run)
	}
	return ls, nil
}

// Add relays between client and target until both ways are over, and returns
// at once. Both descriptors are the loop's from here on, whatever happens: it
// closes them. Nobody else may use them or keep them open under another
// number. done is called exactly once, after both are closed, on a goroutine
// that all tunnels share: it may wait for a lock or a write, but holds up the
// other tunnels' done while it does. It may be called before Add returns.
//
// After Close, Add closes both descriptors and calls done as if Stop(0) had
// been called.
func (ls *Loops) Add(client, target Side, limits Limits, done func(Result)) *Tunnel {
	t := newTunnel(client, target, limits, done)
	t.loop = ls.quietest()
	switch errno := t.loop.admit(t); errno {
	case 0:
	case errClosed:
		t.first = EndStopped
		t.abort()
	default:
		t.first, t.op, t.errno = EndFailed, opRegister, errno
		t.abort()
	}
	return t
}

// quietest returns the loop with the fewest tunnels, the first of equals: few
// tunnels wake few threads.
func (ls *Loops) quietest() *loop {
	best, fewest := ls.loops[0], ls.loops[0].open.Load()
	for _, l := range ls.loops[1:] {
		if n := l.open.Load(); n < fewest {
			best, fewest = l, n
		}
	}
	return best
}

// Open returns the number of tunnels whose descriptors are open.
func (ls *Loops) Open() int {
	n := 0
	for _, l := range ls.loops {
		n += int(l.open.Load())
	}
	return n
}

// Pipes returns how many pipes are open, of two descriptors each, and how many
// of them are empty and kept for the next tunnel.
func (ls *Loops) Pipes() (open, free int) {
	for _, l := range ls.loops {
		open += int(l.pipes.all.Load())
		free += int(l.pipes.idle.Load())
	}
	return open, free
}

// Close ends every tunnel as Stop(0) does, and returns once every done has.
// It must not be called from one.
func (ls *Loops) Close() {
	for _, l := range ls.loops {
		l.close()
	}
	ls.running.Wait()
	ls.finisher.close()
}

// errClosed is admit's answer after Close.
const errClosed = syscall.ESHUTDOWN
