package stdio

import (
	"syscall"

	"culvert/tunnel/internal/sock"

	"golang.org/x/sys/unix"
)

// maxStuck is how many splices in a row may move nothing although both sides are
// ready. A single one may be due to another process that uses Out.
const maxStuck = 3

// downSplice moves bytes from the tunnel to Out without copying them: directly if Out
// is a pipe, else through a pipe that is borrowed while there are bytes in it.
//
// splice(2) does not report which of its two descriptors was not ready. So the socket
// is polled; if that is ready, Out is waited for, since other processes that have the
// pipe open may fill it at any time. If both are ready and nothing moves, the next byte
// is urgent data (RFC 9293, section 3.8.5), which only a read passes. If end of file
// follows closely, splice(2) mistakes urgent data for it.
type downSplice struct {
	*relaying
	conn    syscall.RawConn // of the tunnel
	out     *spliceFile
	between *sock.Pipe // holds left bytes, or nil
	left    int

	// The state of one splice:
	from     int // the descriptor it reads from
	n        int
	err      error
	after    bool // the n bytes came after the half-close
	fromConn func(fd uintptr) bool
	toOut    func(fd uintptr)
}

// spliceDown splices from the tunnel to Out. It reports false if the rest has to be
// copied, for one of three reasons: Out cannot be spliced to; end of file seems to be
// reached, which a read has to confirm; or Out has no reader any more, which a write of
// package os has to find out, so that SIGPIPE ends the program.
func (r *relaying) spliceDown() (over bool, err error) {
	s := &downSplice{relaying: r, conn: sock.RawOf(r.Conn.NetConn()), out: spliceFileOf(r.Out)}
	if s.conn == nil || s.out == nil {
		return false, nil
	}
	s.toOut, s.fromConn = s.spliceOut, s.receivePiece
	if s.out.kind == unix.S_IFIFO {
		s.fromConn = s.receive
	}
	for stuck := 0; stuck < maxStuck; stuck++ {
		if err := s.conn.Read(s.fromConn); err != nil {
			return true, err
		}
		s.after = r.halfClosed.Load()
		switch {
		case s.err == unix.EAGAIN: // the socket has bytes
			if waited, err := s.out.awaitRoom(); err != nil {
				return false, nil
			} else if waited {
				stuck = -1
			}
		case s.err == unix.EINVAL, s.err == unix.EPIPE, s.err == nil && s.n == 0:
			return false, nil
		case s.err != nil:
			return true, sock.OpError("read", s.Conn, s.err)
		default:
			stuck = -1
			if s.between == nil {
				s.count(s.n)
			} else if ok, err := s.empty(); !ok {
				return err != nil, err
			}
		}
	}
	return false, nil
}

// count counts n bytes spliced to Out.
func (s *downSplice) count(n int) {
	s.delivered(n, s.after)
	s.spliced.down += int64(n)
}

// receive splices from the socket to Out, a pipe. It reports false if the socket has
// nothing.
func (s *downSplice) receive(socket uintptr) bool {
	s.n, s.err, s.from = 0, unix.EINVAL, int(socket)
	_ = s.out.raw.Control(s.toOut) // if Out was closed, toOut is not called and EINVAL stays
	return s.err != unix.EAGAIN || ready(socket, unix.POLLIN)
}

// spliceOut splices from s.from to Out.
func (s *downSplice) spliceOut(out uintptr) {
	s.n, s.err = sock.Splice(s.from, int(out), sock.PipeSize)
}

// receivePiece splices from the socket to a borrowed pipe. It reports false if the
// socket has nothing.
func (s *downSplice) receivePiece(socket uintptr) bool {
	pipe := sock.SharedPipes.Get()
	if pipe == nil {
		s.n, s.err = 0, unix.EINVAL
		return true
	}
	if s.n, s.err = sock.Splice(int(socket), pipe.W, sock.PipeSize); s.n > 0 {
		s.between, s.left = pipe, s.n
	} else {
		sock.SharedPipes.Put(pipe, 0)
	}
	return s.err != unix.EAGAIN || ready(socket, unix.POLLIN)
}

// empty moves the content of the pipe to Out. If Out cannot be spliced to, or fails, it
// writes the rest, and returns false and the error of the write.
func (s *downSplice) empty() (ok bool, err error) {
	defer func() {
		sock.SharedPipes.Put(s.between, s.left)
		s.between = nil
	}()
	s.from = s.between.R
	for s.left > 0 {
		s.n, s.err = 0, unix.EINVAL
		_ = s.out.raw.Control(s.toOut)
		switch {
		case s.err == nil:
			s.left -= s.n
			s.count(s.n)
		case s.err != unix.EAGAIN || !s.roomAgain():
			held, err := s.between.ReadAll(&s.left)
			if err != nil {
				return false, err
			}
			return false, s.relaying.deliver(held)
		}
	}
	return true, nil
}

// roomAgain waits until Out accepts more, and reports false if it does not.
func (s *downSplice) roomAgain() bool {
	_, err := s.out.awaitRoom()
	return err == nil
}
