//go:build linux

package splice

import (
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	pipeSize    = 1 << 20  // of a pipe, and of one splice
	pipeMinimum = 64 << 10 // the size below which a buffer is better
	pipePause   = 32       // pieces that are copied after a pipe was not to be had
)

var errShortPipe = errors.New("the pipe is too short")

// pipe is one pipe(2).
type pipe struct{ r, w int32 }

// pool is a pool of empty pipes. It lends the one that was used last first. Only its
// loop may use it; any goroutine may read the counts.
type pool struct {
	open       func() (*pipe, error)
	keep, most int
	free       []*pipe
	pause      int
	all, idle  atomic.Int32
}

// get returns an empty pipe, or nil if there is none.
func (p *pool) get() *pipe {
	if last := len(p.free) - 1; last >= 0 {
		b := p.free[last]
		p.free = p.free[:last]
		p.idle.Add(-1)
		return b
	}
	if p.pause > 0 || int(p.all.Load()) >= p.most {
		p.pause = max(0, p.pause-1)
		return nil
	}
	b, err := p.open()
	if err != nil {
		p.pause = pipePause
		return nil
	}
	p.all.Add(1)
	return b
}

// put takes a pipe back in which left bytes remain. A pipe that is not empty is closed,
// so that no other tunnel gets its bytes.
func (p *pool) put(b *pipe, left int32) {
	if left == 0 && len(p.free) < p.keep {
		p.free = append(p.free, b)
		p.idle.Add(1)
		return
	}
	p.all.Add(-1)
	b.close()
}

func (p *pool) close() {
	for len(p.free) > 0 {
		p.put(p.get(), 1)
	}
}

func openPipe() (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	b := &pipe{r: int32(fds[0]), w: int32(fds[1])}
	size, err := unix.FcntlInt(uintptr(b.w), unix.F_SETPIPE_SZ, pipeSize)
	if err != nil { // more than fs.pipe-max-size or the user's share
		size, err = unix.FcntlInt(uintptr(b.w), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < pipeMinimum {
		b.close()
		return nil, errShortPipe
	}
	return b, nil
}

func (b *pipe) close() {
	_ = unix.Close(int(b.r))
	_ = unix.Close(int(b.w))
}

// Read implements io.Reader.
func (b *pipe) Read(into []byte) (int, error) { return unix.Read(int(b.r), into) }
