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
	// bulk is the size from which a piece is cheaper to splice than to copy. The
	// size of the last piece predicts that of the next.
	bulk = 16 << 10
	// stretch is the number of bytes that are copied after a pipe was not to be had.
	stretch = 1 << 20
)

// socketDirection is the state of a direction that reads from a descriptor. Bytes
// are copied through a buffer while they come in small pieces, and spliced through a
// pipe when they come in large ones. Either is borrowed only while there are bytes in
// it.
type socketDirection struct {
	pipes    pipePool
	noSplice bool // one of the descriptors cannot be spliced
	bulk     bool // the last piece was a large one
	stretch  int  // bytes still to copy before a pipe is asked for again

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

// copy copies until end of file, and reports whether that was reached.
func (d *direction) copy() (eof bool) {
	if d.from.raw == nil {
		return d.copyConn()
	}
	s := &d.socket
	receive, drain := d.receive, d.drain // method values, each allocated once
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

// receive reads from the socket, and reports false if that has nothing yet. At end of
// file it leaves neither a byte nor an error.
func (d *direction) receive(fd uintptr) bool {
	s := &d.socket
	if !s.bulk || s.stretch > 0 || s.noSplice || !s.receivePipe(int(fd)) {
		s.receiveBuffer(int(fd))
	}
	s.bulk = s.n >= bulk || s.err == unix.EAGAIN && s.bulk
	return s.err != unix.EAGAIN
}

// receivePipe splices from the socket to a pipe. It reports false if the bytes have
// to go through a buffer.
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
	s.noSplice = s.err == unix.EINVAL // the kernel does not splice from this socket
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

// sendPipe moves the content of the pipe to d.to.
func (d *direction) sendPipe(drain func(uintptr) bool) bool {
	s := &d.socket
	d.stopReading()
	err := d.to.raw.Write(drain)
	if err == nil && s.err == unix.EINVAL {
		s.noSplice, s.err = true, nil
		err = d.copyPipe()
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

// drain splices from the pipe to the socket, and reports false if that accepts no
// more for now.
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

// copyPipe copies the content of the pipe to d.to, which turned out not to accept a
// splice when the bytes were in the pipe already.
func (d *direction) copyPipe() error {
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

// pendingError returns the error that the socket has pending, as a reset leaves one,
// and clears it; or ETIMEDOUT if the peer has vanished.
func (e *end) pendingError() error {
	if own, ok := sock.TCPOf(e.conn).(*sock.Conn); ok && own.Lost() {
		return sock.OpError("read", e.conn, unix.ETIMEDOUT)
	}
	pending := 0
	err := e.inner.Control(func(fd uintptr) {
		pending, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	})
	if err != nil || pending == 0 {
		return nil
	}
	return sock.OpError("read", e.conn, syscall.Errno(pending))
}

// awaitSent waits until the peer has acknowledged every byte written to tcp, but not
// longer than until the time given, or until stop reports true.
func awaitSent(tcp sock.TCP, until time.Time, stop func() bool) {
	pause := time.Millisecond
	for queued(tcp) && time.Now().Before(until) && !stop() {
		time.Sleep(pause) // the kernel does not report that a send queue has become empty
		pause = min(2*pause, 20*time.Millisecond)
	}
}

// queued reports whether tcp has bytes that its peer has yet to acknowledge, and is
// still connected.
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
