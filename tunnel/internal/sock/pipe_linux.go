package sock

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	PipeSize = 1 << 20  // of a pipe, and of one splice
	pipeMin  = 64 << 10 // below, a buffer is better
	PipeKeep = 32       // empty pipes kept open
	PipeMost = 256      // pipes open at a time, of 2 descriptors each
)

var errShortPipe = errors.New("the pipe is too short")

// SharedPipes are the pipes of all relays. A pipe is borrowed while bytes are
// in it, never while waiting for some.
var SharedPipes = &Pipes{Open: OpenPipe}

// Pipe is one pipe(2).
type Pipe struct{ R, W int }

// Pipes lends empty pipes, the one last used first.
type Pipes struct {
	Open func() (*Pipe, error)

	mu   sync.Mutex
	free []*Pipe
	all  int // lent or free
}

// Get returns an empty pipe, or nil if none is to be had.
func (p *Pipes) Get() *Pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.free) - 1; last >= 0 {
		pipe := p.free[last]
		p.free = p.free[:last]
		return pipe
	}
	if p.all >= PipeMost {
		return nil
	}
	pipe, err := p.Open()
	if err != nil {
		return nil
	}
	p.all++
	return pipe
}

// Put takes a pipe back. One with bytes left in it is closed, lest another
// tunnel gets them.
func (p *Pipes) Put(pipe *Pipe, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left == 0 && len(p.free) < PipeKeep {
		p.free = append(p.free, pipe)
		return
	}
	p.all--
	pipe.close()
}

// Counts returns how many pipes are open, and how many of them are free.
func (p *Pipes) Counts() (all, free int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all, len(p.free)
}

func OpenPipe() (*Pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	pipe := &Pipe{R: fds[0], W: fds[1]}
	size, err := unix.FcntlInt(uintptr(pipe.W), unix.F_SETPIPE_SZ, PipeSize)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(pipe.W), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < pipeMin {
		// The user's share of pipe memory is used up: two pages are slower
		// than a buffer.
		pipe.close()
		return nil, errShortPipe
	}
	return pipe, nil
}

func (p *Pipe) close() {
	_ = unix.Close(p.R)
	_ = unix.Close(p.W)
}

// Take takes left bytes out of a pipe that holds as many.
func (p *Pipe) Take(left *int) ([]byte, error) {
	held := make([]byte, *left)
	for i := 0; i < len(held); {
		n, err := Read(p.R, held[i:])
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

// IdleDescriptors is how many descriptors the pipes that nobody uses keep open.
func IdleDescriptors() int {
	_, free := SharedPipes.Counts()
	return 2 * free
}
