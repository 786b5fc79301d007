package stdio

import (
	"syscall"

	"culvert/tunnel/internal/sock"

	"golang.org/x/sys/unix"
)

// stdioStuck is how many splices in a row may move nothing although both sides
// are ready. Once can be chance: others read from Out, too.
const stdioStuck = 3

// downSplice moves bytes from the tunnel to Out without copying them: at once
// if Out is a pipe, else through one that is borrowed while it holds bytes.
//
// Splice(2) does not tell which of its two descriptors was not ready. So the
// socket is asked, and Out is waited for if it was not the socket: others who
// have the pipe open may fill it at any time. Where both are ready and nothing
// moves, the next byte is urgent (RFC 9293, section 3.8.5): only a read gets
// past that. Splice(2) takes it for end of file, too, if that is not far behind.
type downSplice struct {
	*relaying
	conn    syscall.RawConn // the tunnel's
	out     *end
	between *sock.Pipe // holds left bytes, or nil
	left    int

	// Of one splice:
	from     int // the descriptor
	n        int
	err      error
	behind   bool // n bytes came behind a half-close
	fromConn func(fd uintptr) bool
	toOut    func(fd uintptr)
}

// spliceDown reports false if what is left is to be copied: Out does not
// splice; it seems to be end of file, which a read must say; or nobody reads Out
// any more, which a write of package os must find out, being the one that
// SIGPIPE ends the program for.
func (r *relaying) spliceDown() (over bool, err error) {
	s := &downSplice{relaying: r, conn: sock.RawOf(r.Conn.NetConn()), out: endOf(r.Out)}
	if s.conn == nil || s.out == nil {
		return false, nil
	}
	s.toOut, s.fromConn = s.spliceOut, s.receivePiece
	if s.out.kind == unix.S_IFIFO {
		s.fromConn = s.receive
	}
	for stuck := 0; stuck < stdioStuck; stuck++ {
		if err := s.conn.Read(s.fromConn); err != nil {
			return true, err
		}
		s.behind = r.halfClosed.Load()
		switch {
		case s.err == unix.EAGAIN: // but not for want of bytes
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

// count counts n bytes given to Out.
func (s *downSplice) count(n int) {
	s.delivered(n, s.behind)
	s.spliced.down += int64(n)
}

// receive splices to Out, a pipe. It reports false if the socket has nothing.
func (s *downSplice) receive(Conn uintptr) bool {
	s.n, s.err, s.from = 0, unix.EINVAL, int(Conn)
	_ = s.out.raw.Control(s.toOut) // not called if Out was closed, and EINVAL stays
	return s.err != unix.EAGAIN || ready(Conn, unix.POLLIN)
}

func (s *downSplice) spliceOut(out uintptr) {
	s.n, s.err = sock.Splice(s.from, int(out), sock.PipeSize)
}

// receivePiece splices to a pipe. It reports false if the socket has nothing.
func (s *downSplice) receivePiece(Conn uintptr) bool {
	pipe := sock.SharedPipes.Get()
	if pipe == nil {
		s.n, s.err = 0, unix.EINVAL
		return true
	}
	if s.n, s.err = sock.Splice(int(Conn), pipe.W, sock.PipeSize); s.n > 0 {
		s.between, s.left = pipe, s.n
	} else {
		sock.SharedPipes.Put(pipe, 0)
	}
	return s.err != unix.EAGAIN || ready(Conn, unix.POLLIN)
}

// empty moves what the pipe holds to Out. It reports false if Out does not
// splice or fails; the rest is written then, and a write's error returned.
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

// roomAgain waits until Out takes more, and reports false if it will not.
func (s *downSplice) roomAgain() bool {
	_, err := s.out.awaitRoom()
	return err == nil
}
