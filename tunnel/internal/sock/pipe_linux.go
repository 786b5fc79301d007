package sock

import (
	"cmp"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// PipeSize is the size in bytes that a pipe is given, and so the most that one
// Splice can move.
const PipeSize = 1 << 20

const (
	pipeMin  = 64 << 10 // the size below which a buffer is better
	pipeKeep = 32       // empty pipes that a pool keeps open
)

var errShortPipe = errors.New("the pipe is too short")

// SharedPipes is the pool of all relays. They borrow a pipe while there are bytes
// in it, and never while they wait for some.
var SharedPipes = new(Pipes)

// LimitPipes sets how many pipes of SharedPipes may be open; negative = none.
func LimitPipes(n int) {
	SharedPipes.mu.Lock()
	defer SharedPipes.mu.Unlock()
	SharedPipes.most = n
}

// Pipe is one pipe(2), whose ends do not block.
type Pipe struct{ R, W int }

// Pipes is a pool of empty pipes, at most MaxPipes at a time. Get returns the pipe that
// was used last, whose memory is most likely still in the processor's cache. The
// zero value is an empty pool.
type Pipes struct {
	mu   sync.Mutex
	free []*Pipe
	all  int                   // pipes that are borrowed or free
	most int                   // of those; 0 = MaxPipes, negative = none
	open func() (*Pipe, error) // nil = openPipe
}

// Get returns an empty pipe, which the caller gives back with Put. It returns nil
// if as many pipes are open as may be, or if this system opens no more that are
// large enough.
func (p *Pipes) Get() *Pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.free) - 1; last >= 0 {
		pipe := p.free[last]
		p.free = p.free[:last]
		return pipe
	}
	if p.all >= cmp.Or(p.most, MaxPipes) {
		return nil
	}
	open := p.open
	if open == nil {
		open = openPipe
	}
	pipe, err := open()
	if err != nil {
		return nil
	}
	p.all++
	return pipe
}

// Put gives a pipe back in which left bytes remain. A pipe that is not empty is
// closed, so that no other tunnel gets its bytes.
func (p *Pipes) Put(pipe *Pipe, left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left == 0 && len(p.free) < pipeKeep {
		p.free = append(p.free, pipe)
		return
	}
	p.all--
	pipe.close()
}

// Counts returns how many of the pool's pipes are open, and how many of these are
// free.
func (p *Pipes) Counts() (all, free int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all, len(p.free)
}

func openPipe() (*Pipe, error) {
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
		// The user's share of pipe memory is used up, and a pipe of two pages is
		// slower than a buffer.
		pipe.close()
		return nil, errShortPipe
	}
	return pipe, nil
}

func (p *Pipe) close() {
	_ = unix.Close(p.R)
	_ = unix.Close(p.W)
}

// ReadAll returns the *left bytes that the pipe holds, and subtracts from *left what
// it has read, also when it fails.
func (p *Pipe) ReadAll(left *int) ([]byte, error) {
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

// IdleDescriptors returns the number of descriptors that the free pipes of
// SharedPipes and the questions for routes keep open. Tests that look for leaks
// subtract them.
func IdleDescriptors() int {
	_, free := SharedPipes.Counts()
	return 2*free + hereDescriptors()
}
