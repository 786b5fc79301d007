package sock

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a TCP connection that Go's poller learns of only when somebody has
// to wait for it. Most tunnels shake hands without that: the request is there
// when the connection is accepted, the answer fits into the send queue, and
// the event loops then take the descriptor as it is. Entering a descriptor
// into the poller, and taking it out again under another number, costs more
// than all of that.
//
// It is a net.Conn, which the caller closes. As there, any method may be called
// by several goroutines at once.
type Conn struct {
	remote netip.AddrPort

	mu             sync.Mutex // held during system calls that do not wait
	fd             int        // -1: closed, taken, or in file
	file           *os.File   // in Go's poller; nil = not yet
	raw            syscall.RawConn
	readBy, sendBy time.Time
}

// newConn takes over a connected, or connecting, descriptor that does not
// block.
func newConn(fd int, remote netip.AddrPort) *Conn { return &Conn{fd: fd, remote: remote} }

// attempt calls a system call once, under the lock, unless the poller has the
// descriptor or the deadline has passed. Done is false if the call would wait.
func (s *Conn) attempt(by *time.Time, call func(fd int) syscall.Errno) (errno syscall.Errno, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file != nil:
		return 0, false, nil
	case s.fd < 0:
		return 0, false, net.ErrClosed
	case !by.IsZero() && !time.Now().Before(*by):
		return 0, false, os.ErrDeadlineExceeded
	}
	errno = call(s.fd)
	return errno, errno != unix.EAGAIN, nil
}

// park enters the descriptor into Go's poller, where it can be waited for.
func (s *Conn) park() (syscall.RawConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file != nil:
		return s.raw, nil
	case s.fd < 0:
		return nil, net.ErrClosed
	}
	file := os.NewFile(uintptr(s.fd), "tcp")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(s.readBy) // which fails if the poller did not take it
	}
	if err == nil {
		err = file.SetWriteDeadline(s.sendBy)
	}
	if err != nil {
		s.fd = -1
		_ = file.Close()
		return nil, err
	}
	s.file, s.raw, s.fd = file, raw, -1
	return raw, nil
}

func (s *Conn) parked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file != nil
}

// Read implements net.Conn.
func (s *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	var n int
	recv := func(fd int) (errno syscall.Errno) {
		n, errno = recvNow(fd, b)
		return errno
	}
	errno, done, err := s.attempt(&s.readBy, recv)
	if err == nil && !done && !s.parked() {
		// A request follows its connection by microseconds: to let the others
		// go first is often wait enough.
		runtime.Gosched()
		errno, done, err = s.attempt(&s.readBy, recv)
	}
	if err == nil && !done {
		var raw syscall.RawConn
		if raw, err = s.park(); err == nil {
			err = raw.Read(func(fd uintptr) bool {
				errno = recv(int(fd))
				return errno != unix.EAGAIN
			})
		}
	}
	switch {
	case err != nil || errno != 0:
		return 0, s.opError("read", err, errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (s *Conn) Write(b []byte) (sent int, err error) {
	send := func(fd int) syscall.Errno {
		for sent < len(b) {
			n, errno := sendNow(fd, b[sent:])
			if errno != 0 {
				return errno
			}
			sent += n
		}
		return 0
	}
	errno, done, err := s.attempt(&s.sendBy, send)
	if err == nil && !done {
		var raw syscall.RawConn
		if raw, err = s.park(); err == nil {
			err = raw.Write(func(fd uintptr) bool {
				errno = send(int(fd))
				return errno != unix.EAGAIN
			})
		}
	}
	if err != nil || errno != 0 {
		return sent, s.opError("write", err, errno)
	}
	return sent, nil
}

// opError dresses an error as package net does.
func (s *Conn) opError(op string, err error, errno syscall.Errno) error {
	switch {
	case err == nil:
		err = os.NewSyscallError(op, errno)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		var call *os.SyscallError
		if !errors.As(err, &call) {
			err = net.ErrClosed // what the poller says of a closed file has no name
		}
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: s.RemoteAddr(), Err: err}
}

// Close implements net.Conn.
func (s *Conn) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file != nil:
		if s.file.Close() != nil {
			return net.ErrClosed
		}
		return nil
	case s.fd < 0:
		return net.ErrClosed
	}
	fd := s.fd
	s.fd = -1
	closeNow(fd)
	return nil
}

// control calls f with the descriptor, which stays open meanwhile.
func (s *Conn) control(f func(fd int) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file != nil:
		if failed := s.raw.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
			return net.ErrClosed
		}
		return err
	case s.fd < 0:
		return net.ErrClosed
	}
	return f(s.fd)
}

// CloseWrite sends end of file.
func (s *Conn) CloseWrite() error {
	return s.control(func(fd int) error { return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR)) })
}

// SetLinger is that of net.TCPConn.
func (s *Conn) SetLinger(seconds int) error {
	l := unix.Linger{}
	if seconds >= 0 {
		l.Onoff, l.Linger = 1, int32(seconds)
	}
	return s.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
	})
}

// SyscallConn implements syscall.Conn.
func (s *Conn) SyscallConn() (syscall.RawConn, error) { return s.park() }

// Descriptor implements sock.Numbered.
func (s *Conn) Descriptor() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fd
}

// RemoteAddrPort implements sock.Addressed.
func (s *Conn) RemoteAddrPort() netip.AddrPort { return s.remote }

var (
	_ Numbered  = (*Conn)(nil)
	_ Addressed = (*Conn)(nil)
)

// RemoteAddr implements net.Conn.
func (s *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

// LocalAddr implements net.Conn.
func (s *Conn) LocalAddr() net.Addr {
	var local netip.AddrPort
	_ = s.control(func(fd int) error {
		local = localAddr(fd)
		return nil
	})
	return net.TCPAddrFromAddrPort(local)
}

// SetDeadline implements net.Conn.
func (s *Conn) SetDeadline(t time.Time) error { return s.setDeadlines(&t, &t) }

// SetReadDeadline implements net.Conn.
func (s *Conn) SetReadDeadline(t time.Time) error { return s.setDeadlines(&t, nil) }

// SetWriteDeadline implements net.Conn.
func (s *Conn) SetWriteDeadline(t time.Time) error { return s.setDeadlines(nil, &t) }

func (s *Conn) setDeadlines(read, send *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && s.fd < 0 {
		return net.ErrClosed
	}
	if read != nil {
		s.readBy = *read
		if s.file != nil && s.file.SetReadDeadline(*read) != nil {
			return net.ErrClosed
		}
	}
	if send != nil {
		s.sendBy = *send
		if s.file != nil && s.file.SetWriteDeadline(*send) != nil {
			return net.ErrClosed
		}
	}
	return nil
}

// Take takes the descriptor away, out of Go's poller, under another number if
// it was in there. The socket is closed after that. If it returns false, nothing
// has happened.
func (s *Conn) Take() (fd int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		fd, s.fd = s.fd, -1
		return fd, fd >= 0
	}
	var err error
	if s.raw.Control(func(have uintptr) { fd, err = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) }) != nil || err != nil {
		return -1, false
	}
	_ = s.file.Close()
	return fd, true
}

// Restore undoes a take.
func (s *Conn) Restore(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.raw, s.fd = nil, nil, fd
}
