package relay

import (
	"io"
	"os"
	"syscall"
	"time"

	"culvert/tunnel/internal/sock"

	"golang.org/x/sys/unix"
)

const (
	// bulk is the size from which a piece is cheaper to splice than to
	// copy. The last piece's size stands for the next one's.
	bulk = 16 << 10
	// stretch is how many bytes go by buffer after there was no pipe.
	stretch = 1 << 20
)

// socketDirection is what a direction needs to work on descriptors. Bytes are
// read into a buffer while they come in small pieces, and spliced through a
// pipe when they come in large ones; either is borrowed only while it holds
// bytes.
type socketDirection struct {
	pipes    pipePool
	noSplice bool
	bulk     bool // the last piece was a large one
	stretch  int  // bytes to go by buffer, for want of a pipe

	pipe *sock.Pipe   // holds n bytes, or nil
	buf  *sock.Buffer // holds n bytes, or nil
	n    int
	err  error // of the last system call
}

// pipePool is a *sock.Pipes; tests have others.
type pipePool interface {
	Get() *sock.Pipe
	Put(pipe *sock.Pipe, left int)
}

func (s *socketDirection) init(d *direction) {
	s.pipes = sock.SharedPipes
	s.noSplice = d.to.raw == nil
}

// copy copies until end of file, and reports whether it came to that.
func (d *direction) copy() (eof bool) {
	if d.from.raw == nil {
		return d.copyConn()
	}
	s := &d.socket
	receive, drain := d.receive, d.drain // as values once, not anew for each call
	for {
		if err := d.from.raw.Read(receive); err != nil {
			return d.relay.failedRead(d.from, err)
		}
		var ok bool
		switch {
		case s.err != nil:
			return d.relay.failedRead(d.from, sock.OpError("read", d.from.conn, s.err))
		case s.n == 0: // end of file
			return true
		case s.pipe != nil:
			ok = d.sendPipe(drain)
		default:
			ok = d.write(s.buf[:s.n])
			s.buf.Release()
			s.buf = nil
		}
		if !ok {
			return false
		}
	}
}

// receive takes what the socket has, and reports false if it has nothing yet.
// At end of file there is neither a byte nor an error.
func (d *direction) receive(fd uintptr) bool {
	s := &d.socket
	if !s.bulk || s.stretch > 0 || s.noSplice || !s.receivePipe(int(fd)) {
		s.receiveBuffer(int(fd))
	}
	s.bulk = s.n >= bulk || s.err == unix.EAGAIN && s.bulk
	return s.err != unix.EAGAIN
}

// receivePipe reports false if the bytes cannot go through a pipe.
func (s *socketDirection) receivePipe(fd int) bool {
	pipe := s.pipes.Get()
	if pipe == nil {
		s.stretch = stretch
		return false
	}
	s.n, s.err = sock.Splice(fd, pipe.W, sock.PipeSize)
	if s.n > 0 {
		s.pipe = pipe
		return true
	}
	s.pipes.Put(pipe, 0)
	s.noSplice = s.err == unix.EINVAL // this kernel does not, for this socket
	return !s.noSplice
}

func (s *socketDirection) receiveBuffer(fd int) {
	buf := sock.GetBuffer()
	s.n, s.err = sock.Read(fd, buf[:])
	if s.n > 0 {
		s.buf = buf
		s.stretch -= min(s.n, s.stretch)
		return
	}
	buf.Release()
}

// sendPipe empties the pipe into to.
func (d *direction) sendPipe(drain func(uintptr) bool) bool {
	s := &d.socket
	d.lookAway()
	err := d.to.raw.Write(drain)
	if err == nil && s.err == unix.EINVAL {
		s.noSplice, s.err = true, nil
		err = d.sendPipeByHand()
	}
	if err == nil && s.err != nil {
		err = sock.OpError("write", d.to.conn, s.err)
	}
	d.unread.Store(false)
	s.pipes.Put(s.pipe, s.n)
	s.pipe = nil
	if err != nil {
		d.relay.fail(d.to, err)
	}
	return err == nil
}

// drain splices from the pipe, and reports false if the socket takes no more.
func (d *direction) drain(fd uintptr) bool {
	s := &d.socket
	for s.n > 0 {
		n, err := sock.Splice(s.pipe.R, int(fd), s.n)
		switch {
		case err == unix.EAGAIN:
			return false
		case err == nil && n == 0:
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			s.err = err
			return true
		}
		s.n -= n
		d.count(n)
	}
	return true
}

// sendPipeByHand is for a socket that takes no splice: the bytes are in the
// pipe by then, and not lost.
func (d *direction) sendPipeByHand() error {
	s := &d.socket
	buf := sock.GetBuffer()
	defer buf.Release()
	for s.n > 0 {
		n, err := sock.Read(s.pipe.R, buf[:])
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		s.n -= n
		n, err = d.to.conn.Write(buf[:n])
		d.count(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// pendingError takes the error that waits at the socket for whoever touches it
// next.
func (e *end) pendingError() error {
	pending := 0
	err := e.heart.Control(func(fd uintptr) {
		pending, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	})
	if err != nil || pending == 0 {
		return nil
	}
	return sock.OpError("read", e.conn, syscall.Errno(pending))
}

// awaitSent waits until the peer has acknowledged every byte written to tcp,
// until the time given, or until stop says so.
func awaitSent(tcp sock.TCP, until time.Time, stop func() bool) {
	pause := time.Millisecond
	for queued(tcp) && time.Now().Before(until) && !stop() {
		time.Sleep(pause) // the kernel tells nobody when a send queue runs empty
		pause = min(2*pause, 20*time.Millisecond)
	}
}

// queued reports whether tcp has bytes on the way, and still a peer to go to.
func queued(tcp sock.TCP) bool {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		if n == 0 {
			return
		}
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO); err == nil && info.State == unix.BPF_TCP_CLOSE {
			n = 0
		}
	})
	return err == nil && n > 0
}
