package listen

import (
	"syscall"

	"culvert/tunnel/internal/sock"

	"golang.org/x/sys/unix"
)

// wireWait is what a tlsWire needs to wait without a buffer.
type wireWait struct {
	raw     syscall.RawConn
	receive func(uintptr) bool // w.receive, made once
	err     error              // of the last system call
}

// fill waits for bytes from the client, or its end of file, with the inbox
// empty. A buffer is borrowed only when there are some.
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

// receive reports false if the socket has nothing yet.
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
