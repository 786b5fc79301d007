package tunnel

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	relayPipeSize = 1 << 20  // of a pipe, and of one splice
	relayPipeMin  = 64 << 10 // below, a buffer is better
	relayPipeKeep = 32       // empty pipes kept open
	relayPipeMost = 256      // pipes open at a time, of 2 descriptors each
)

var errShortPipe = errors.New("the pipe is too short")

// relayPipes are the pipes of all relays. A pipe is borrowed while bytes are
// in it, never while waiting for some.
var relayPipes = &pipePool{open: openPipe}

// relayPipe is one pipe(2).
type relayPipe struct{ r, w int }

// pipePool lends empty pipes, the one last used first.
type pipePool struct {
	open func() (*relayPipe, error)

	mu   sync.Mutex
	free []*relayPipe
	all  int // lent or free
}

// get returns an empty pipe, or nil if none is to be had.
func (p *pipePool) get() *relayPipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.free) - 1; last >= 0 {
		pipe := p.free[last]
		p.free = p.free[:last]
		return pipe
	}
	if p.all >= relayPipeMost {
		return nil
	}
	pipe, err := p.open()
	if err != nil {
		return nil
	}
	p.all++
	return pipe
}

// put takes a pipe back. One with bytes left in it is closed, lest another
// tunnel gets them.
func (p *pipePool) put(pipe *relayPipe, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left == 0 && len(p.free) < relayPipeKeep {
		p.free = append(p.free, pipe)
		return
	}
	p.all--
	pipe.close()
}

// counts returns how many pipes are open, and how many of them are free.
func (p *pipePool) counts() (all, free int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all, len(p.free)
}

func openPipe() (*relayPipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	pipe := &relayPipe{r: fds[0], w: fds[1]}
	size, err := unix.FcntlInt(uintptr(pipe.w), unix.F_SETPIPE_SZ, relayPipeSize)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(pipe.w), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < relayPipeMin {
		// The user's share of pipe memory is used up: two pages are slower
		// than a buffer.
		pipe.close()
		return nil, errShortPipe
	}
	return pipe, nil
}

func (p *relayPipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// spliceNow moves at most size bytes between a pipe and a socket, without
// waiting for either.
func spliceNow(from, to, size int) (int, error) {
	return retry(func() (int, error) {
		n, err := unix.Splice(from, nil, to, nil, size, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(n), err
	})
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// take takes left bytes out of a pipe that holds as many.
func (p *relayPipe) take(left *int) ([]byte, error) {
	held := make([]byte, *left)
	for i := 0; i < len(held); {
		n, err := retry(func() (int, error) { return unix.Read(p.r, held[i:]) })
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, os.NewSyscallError("read", err)
		}
		i += n
		*left -= n
	}
	return held, nil
}

// idleDescriptors is how many descriptors the pipes that nobody uses keep open.
func idleDescriptors() int {
	_, free := relayPipes.counts()
	return 2 * free
}
