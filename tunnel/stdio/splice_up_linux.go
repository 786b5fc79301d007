package stdio

import (
	"io"
	"os"
	"syscall"

	"culvert/tunnel/internal/sock"

	"golang.org/x/sys/unix"
)

// upSplice moves bytes from In, a regular file, to the tunnel without copying them,
// through a pipe that is borrowed while there are bytes in it.
//
// Any other In is copied, which is no slower. For a pipe it takes a fifth less CPU
// time, as measured: splice(2) empties a pipe at once, and then its writer and the
// relay put each other to sleep and wake each other for every 64 KiB.
type upSplice struct {
	*relaying
	conn syscall.RawConn // of the tunnel
	pipe *sock.Pipe      // holds bytes of In

	// The state of one splice:
	n      int
	err    error
	toConn func(fd uintptr) bool
}

// spliceUp splices from In to the tunnel. It reports false if the rest has to be copied.
// This includes an error of In, which a read then reports.
func (r *relaying) spliceUp() (done bool) {
	conn, in := sock.RawOf(r.Conn.NetConn()), spliceFileOf(r.In)
	if conn == nil || in == nil || in.kind != unix.S_IFREG {
		return false
	}
	s := &upSplice{relaying: r, conn: conn}
	s.toConn = s.spliceToConn
	fill := func(fd uintptr) { s.n, s.err = sock.Splice(int(fd), s.pipe.W, sock.PipeSize) }
	for {
		if s.pipe = sock.SharedPipes.Get(); s.pipe == nil {
			return false
		}
		s.n, s.err = 0, os.ErrClosed
		_ = in.raw.Control(fill) // if In was closed, fill is not called
		if s.err != nil || s.n == 0 {
			sock.SharedPipes.Put(s.pipe, 0)
			if s.err == nil {
				r.endUp(io.EOF)
			}
			return s.err == nil
		}
		if done, ok := s.empty(); !ok {
			return done
		}
	}
}

// empty sends the content of the pipe. If ok is false, over reports that nothing more
// can be sent; else the socket cannot be spliced to, and the rest has to be copied.
func (s *upSplice) empty() (over, ok bool) {
	left := s.n
	defer func() { sock.SharedPipes.Put(s.pipe, left) }()
	for left > 0 {
		switch err := s.send(); err {
		case nil:
			left -= s.n
		case unix.EINVAL:
			held, err := s.pipe.ReadAll(&left)
			return err != nil || !s.write(held), false
		default:
			return true, false
		}
	}
	return false, true
}

// send is like write, but splices from the pipe. Its error is EINVAL if the socket
// cannot be spliced to.
func (s *upSplice) send() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.stopped {
		return os.ErrClosed
	}
	if err := s.conn.Write(s.toConn); err != nil {
		s.upErr = err
		return err
	}
	switch s.err {
	case nil:
		s.up.Add(int64(s.n))
		s.spliced.up.Add(int64(s.n))
	case unix.EINVAL:
	default:
		s.upErr = sock.OpError("write", s.Conn, s.err)
	}
	return s.err
}

// spliceToConn splices from the pipe to the socket. It reports false if the socket
// accepts no more for now.
func (s *upSplice) spliceToConn(socket uintptr) bool {
	s.n, s.err = sock.Splice(s.pipe.R, int(socket), sock.PipeSize)
	return s.err != unix.EAGAIN
}
