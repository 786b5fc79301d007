//go:build linux

package splice

import (
	"cmp"
	"runtime"
	"sync"
	"syscall"
)

const (
	mostLoops = 4   // the most loops by default
	mostPipes = 256 // the most open pipes of all loops together by default
	keepPipes = 32  // the most empty pipes that all loops together keep open
)

// Loops relays tunnels on a fixed set of epoll loops.
type Loops struct {
	loops    []*loop
	finisher *finisher
	running  sync.WaitGroup
}

// usualLoops returns how many loops there are by default.
func usualLoops() int { return min(runtime.GOMAXPROCS(0), mostLoops) }

// Descriptors returns how many descriptors the loops of Start(0, ...) take: an epoll(7)
// instance and an eventfd(2) each.
func Descriptors() int { return 2 * usualLoops() }

// Start starts n loops; n <= 0 means one for each processor that Go may use, up to four.
// They have at most that many pipes open, of two descriptors each; 0 = 256, negative =
// none. The caller closes them. The error is that of a system call.
func Start(n, pipes int) (*Loops, error) {
	if n <= 0 {
		n = usualLoops()
	}
	ls := &Loops{finisher: newFinisher()}
	for range n {
		l, err := newLoop(ls.finisher, n, max(0, cmp.Or(pipes, mostPipes)))
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

// Add relays between client and target until both ways are over, and returns at once.
// It owns both descriptors, whatever happens, and closes them; they must not be used or
// kept open under another number. done is called exactly once, after both are closed,
// possibly before Add returns. It runs on a goroutine that all tunnels share: while it
// waits for a lock or a write, the done of other tunnels wait too.
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

// quietest returns the loop with the fewest tunnels, the first of several: a few tunnels
// then wake few threads.
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

// Pipes returns how many pipes are open, of two descriptors each, and how many of these
// are empty and kept for later.
func (ls *Loops) Pipes() (open, free int) {
	for _, l := range ls.loops {
		open += int(l.pipes.all.Load())
		free += int(l.pipes.idle.Load())
	}
	return open, free
}

// Close ends every tunnel as Stop(0) does, and returns when the last done has returned.
// It must not be called by a done.
func (ls *Loops) Close() {
	for _, l := range ls.loops {
		l.close()
	}
	ls.running.Wait()
	ls.finisher.close()
}

// errClosed is what admit returns after Close.
const errClosed = syscall.ESHUTDOWN
