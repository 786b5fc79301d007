package forward

import (
	"io"
	"net"
	"os"
	"syscall"

	"culvert/tunnel/internal/sock"

	"golang.org/x/sys/unix"
)

// spliceFrom is the length in bytes from which content is moved in the kernel. Below it,
// a copy costs no more.
const spliceFrom = 64 << 10

// splicer moves content from one socket to another in the kernel, by way of a pipe that it
// borrows while there are bytes in it (splice(2)). Content that it has taken must be
// given before more is taken.
type splicer struct {
	from, to syscall.RawConn
	fromConn net.Conn
	toConn   net.Conn
	pipe     *sock.Pipe // nil = there is nothing in it
	held     int        // bytes in the pipe
}

// newSplicer returns a splicer between two sockets, nil if one of the connections is more
// than a socket.
func newSplicer(from, to net.Conn) *splicer {
	s := &splicer{from: sock.RawOf(from), fromConn: from, toConn: to}
	if s.from == nil {
		return nil
	}
	if s.to = sock.RawOf(to); s.to == nil {
		return nil
	}
	return s
}

// take waits for content and takes at most n bytes of it. It returns 0 and no error if
// this system has no pipe to give now: the content then has to be copied.
func (s *splicer) take(n int64) (taken int, err error) {
	failed := s.from.Read(func(fd uintptr) bool {
		if s.pipe = sock.SharedPipes.Get(); s.pipe == nil {
			return true
		}
		taken, err = sock.Splice(int(fd), s.pipe.W, int(min(n, sock.PipeSize)))
		if taken == 0 || err != nil {
			sock.SharedPipes.Put(s.pipe, 0)
			s.pipe = nil
		}
		switch {
		case err == unix.EAGAIN:
			return false
		case err == unix.EINVAL:
			taken, err = 0, nil // the socket cannot be spliced from
		case err == nil && taken == 0:
			err = io.ErrUnexpectedEOF
		case err != nil:
			err = sock.OpError("splice", s.fromConn, err)
		}
		return true
	})
	if failed != nil {
		return 0, failed
	}
	s.held = taken
	return taken, err
}

// give sends what was taken, and calls sent for each part. If it fails, the rest is lost.
func (s *splicer) give(sent func(n int)) (err error) {
	if s.pipe == nil {
		return nil
	}
	defer func() {
		sock.SharedPipes.Put(s.pipe, s.held)
		s.pipe, s.held = nil, 0
	}()
	failed := s.to.Write(func(fd uintptr) bool {
		for s.held > 0 {
			var n int
			if n, err = sock.Splice(s.pipe.R, int(fd), s.held); err != nil {
				return err != unix.EAGAIN
			}
			s.held -= n
			sent(n)
		}
		return true
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return os.NewSyscallError("splice", err)
	}
	return nil
}
