package listen

import (
	"syscall"

	"culvert/tunnel/internal/sock"

	"golang.org/x/sys/unix"
)

// wireWait is the state of a tlsWire that waits without a buffer.
type wireWait struct {
	raw     syscall.RawConn
	receive func(uintptr) bool // w.receive, made once to save allocations
	err     error              // of the last system call
}

// fill waits for bytes from the client, or for its end of file. The inbox must be empty.
// It takes a buffer from the pool only when there are bytes to read.
func (w *tlsWire) fill() error {
	s := &w.waiting
	if s.raw == nil {
		if s.raw = sock.RawOf(w.Conn); s.raw == nil {
			return w.fillHolding()
		}
		s.receive = w.receive
	}
	if err := s.raw.Read(s.receive); err != nil {
		return err
	}
	if s.err != nil {
		return sock.OpError("read", w.Conn, s.err)
	}
	return nil
}

// receive reads what the socket has. It reports false if there is nothing to read yet.
func (w *tlsWire) receive(fd uintptr) bool {
	s := &w.waiting
	buf := sock.GetBuffer()
	var n int
	n, s.err = sock.Read(int(fd), buf[:])
	if n > 0 {
		w.inbox, w.next, w.have = buf, 0, n
		return true
	}
	buf.Release()
	w.ended = s.err == nil
	return s.err != unix.EAGAIN
}
