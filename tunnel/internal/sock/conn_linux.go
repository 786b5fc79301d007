package sock

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a TCP connection whose descriptor enters Go's poller only when a read or
// write has to wait. Most handshakes get by without: the request has arrived when
// the connection is accepted, the answer fits into the send queue, and the event
// loops then take the descriptor as it is. Entering a descriptor into the poller,
// and removing it under another number, costs more than all of this.
//
// Conn is a net.Conn, which the caller closes. As with any net.Conn, several
// goroutines may call its methods at once.
type Conn struct {
	remote netip.AddrPort

	mu             sync.Mutex // held during system calls that do not wait
	fd             int        // -1 = closed, detached, or in file
	file           *os.File   // the descriptor in Go's poller; nil = it is not there
	raw            syscall.RawConn
	wait           *waiting // set with file
	readBy, sendBy time.Time
	lost           bool // the peer has vanished: everything fails with ETIMEDOUT

	watched atomic.Bool // in watches
}

// newConn returns a Conn that owns fd, a non-blocking socket that is connected or
// connecting.
func newConn(fd int, remote netip.AddrPort) *Conn { return &Conn{fd: fd, remote: remote} }

// ready reports whether a system call that does not wait can be made on c.fd: not if the
// descriptor is in the poller. c.mu is held.
func (c *Conn) ready(by time.Time) (bool, error) {
	switch {
	case c.file != nil:
		return false, nil
	case c.fd < 0:
		return false, net.ErrClosed
	case !by.IsZero() && !time.Now().Before(by):
		return false, os.ErrDeadlineExceeded
	}
	return true, nil
}

// readNow reads what has arrived. done is false if the call would have to wait.
func (c *Conn) readNow(b []byte) (n int, errno syscall.Errno, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok, err := c.ready(c.readBy); !ok {
		return 0, 0, false, err
	}
	n, errno = recvNow(c.fd, b)
	return n, errno, errno != unix.EAGAIN, nil
}

// writeNow writes as much as there is room for. done is false if the call would have to
// wait.
func (c *Conn) writeNow(b []byte) (sent int, errno syscall.Errno, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok, err := c.ready(c.sendBy); !ok {
		return 0, 0, false, err
	}
	sent, errno = sendAll(c.fd, b)
	return sent, errno, errno != unix.EAGAIN, nil
}

// sendAll sends until all is sent, or there is no room.
func sendAll(fd int, b []byte) (sent int, errno syscall.Errno) {
	for sent < len(b) {
		n, errno := sendNow(fd, b[sent:])
		if errno != 0 {
			return sent, errno
		}
		sent += n
	}
	return sent, 0
}

// waiting makes the calls on a descriptor in Go's poller. Its functions are made once,
// so that a call allocates nothing.
type waiting struct {
	in, out transfer
	peek    func(fd uintptr)
	errno   syscall.Errno // of peek; guarded by Conn.mu
}

// transfer is a read or a write that may wait. One at a time is under way.
type transfer struct {
	mu    sync.Mutex
	b     []byte
	n     int
	errno syscall.Errno
	call  func(fd uintptr) bool
}

func newWaiting() *waiting {
	w := new(waiting)
	w.in.call = func(fd uintptr) bool {
		w.in.n, w.in.errno = recvNow(int(fd), w.in.b)
		return w.in.errno != unix.EAGAIN
	}
	w.out.call = func(fd uintptr) bool {
		var n int
		n, w.out.errno = sendAll(int(fd), w.out.b[w.out.n:])
		w.out.n += n
		return w.out.errno != unix.EAGAIN
	}
	w.peek = func(fd uintptr) { w.errno = peekNow(int(fd)) }
	return w
}

// do makes the transfer of b by wait, which is a method of the RawConn.
func (t *transfer) do(wait func(func(fd uintptr) bool) error, b []byte) (n int, errno syscall.Errno, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b, t.n, t.errno = b, 0, 0
	err = wait(t.call)
	t.b = nil
	return t.n, t.errno, err
}

// park enters the descriptor into Go's poller, where goroutines can wait for it. From
// then on the peer is watched, for bytes may be on their way already.
func (c *Conn) park() (syscall.RawConn, error) {
	raw, fresh, err := c.enterPoller()
	if fresh {
		watches.add(c)
	}
	return raw, err
}

func (c *Conn) enterPoller() (raw syscall.RawConn, fresh bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.file != nil:
		return c.raw, false, nil
	case c.fd < 0:
		return nil, false, net.ErrClosed
	}
	file := os.NewFile(uintptr(c.fd), "tcp")
	raw, err = file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(c.readBy) // fails if the poller did not accept it
	}
	if err == nil {
		err = file.SetWriteDeadline(c.sendBy)
	}
	if err != nil {
		c.fd = -1
		_ = file.Close()
		return nil, false, err
	}
	c.file, c.raw, c.wait, c.fd = file, raw, newWaiting(), -1
	return raw, true, nil
}

func (c *Conn) parked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file != nil
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, errno, done, err := c.readNow(b)
	if err == nil && !done && !c.parked() {
		// A request arrives microseconds after its connection: letting other
		// goroutines run first is often enough of a wait.
		runtime.Gosched()
		n, errno, done, err = c.readNow(b)
	}
	if err == nil && !done {
		var raw syscall.RawConn
		if raw, err = c.park(); err == nil {
			n, errno, err = c.wait.in.do(raw.Read, b)
		}
	}
	switch {
	case err != nil || errno != 0:
		return 0, c.opError("read", err, errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (sent int, err error) {
	sent, errno, done, err := c.writeNow(b)
	if err == nil && !done {
		var raw syscall.RawConn
		if raw, err = c.park(); err == nil {
			var n int
			n, errno, err = c.wait.out.do(raw.Write, b[sent:])
			sent += n
			c.wrote()
		}
	}
	if err != nil || errno != 0 {
		return sent, c.opError("write", err, errno)
	}
	return sent, nil
}

// hasEnded is HasEnded for a Conn.
func (c *Conn) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errno syscall.Errno
	switch {
	case c.file != nil:
		if c.raw.Control(c.wait.peek) != nil {
			return true
		}
		errno = c.wait.errno
	case c.fd < 0:
		return true
	default:
		errno = peekNow(c.fd)
	}
	return errno != unix.EAGAIN
}

// opError returns an error in the form that package net gives it.
func (c *Conn) opError(op string, err error, errno syscall.Errno) error {
	switch {
	case err == nil:
		err = os.NewSyscallError(op, errno)
	case errors.Is(err, os.ErrDeadlineExceeded):
		if c.Lost() {
			err = os.NewSyscallError(op, unix.ETIMEDOUT)
		}
	default:
		var call *os.SyscallError
		if !errors.As(err, &call) {
			err = net.ErrClosed // the poller's error for a closed file is not exported
		}
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: c.RemoteAddr(), Err: err}
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	if c.watched.Load() {
		watches.remove(c)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.file != nil:
		if c.file.Close() != nil {
			return net.ErrClosed
		}
		return nil
	case c.fd < 0:
		return net.ErrClosed
	}
	fd := c.fd
	c.fd = -1
	closeNow(fd)
	return nil
}

// control calls f with the descriptor, which stays open until f returns.
func (c *Conn) control(f func(fd int) error) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.file != nil:
		if failed := c.raw.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
			return net.ErrClosed
		}
		return err
	case c.fd < 0:
		return net.ErrClosed
	}
	return f(c.fd)
}

// CloseWrite implements HalfCloser.
func (c *Conn) CloseWrite() error {
	err := c.control(func(fd int) error { return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR)) })
	if c.parked() {
		c.wrote()
	}
	return err
}

// SetLinger is like the method of *net.TCPConn.
func (c *Conn) SetLinger(seconds int) error {
	l := unix.Linger{}
	if seconds >= 0 {
		l.Onoff, l.Linger = 1, int32(seconds)
	}
	return c.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
	})
}

// SyscallConn implements syscall.Conn. It enters the descriptor into Go's poller.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.park()
	if err != nil {
		return nil, err
	}
	return rawConn{raw, c}, nil
}

// rawConn is the descriptor of a Conn in Go's poller.
type rawConn struct {
	syscall.RawConn
	c *Conn
}

// Read implements syscall.RawConn.
func (r rawConn) Read(f func(fd uintptr) bool) error {
	return r.c.lostError("read", r.RawConn.Read(f))
}

// Write implements syscall.RawConn.
func (r rawConn) Write(f func(fd uintptr) bool) error {
	err := r.RawConn.Write(f)
	r.c.wrote()
	return r.c.lostError("write", err)
}

// Descriptor implements Numbered.
func (c *Conn) Descriptor() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fd
}

// RemoteAddrPort implements Addressed.
func (c *Conn) RemoteAddrPort() netip.AddrPort { return c.remote }

var (
	_ TCP        = (*Conn)(nil)
	_ ender      = (*Conn)(nil)
	_ HalfCloser = (*Conn)(nil)
	_ Numbered   = (*Conn)(nil)
	_ Addressed  = (*Conn)(nil)
)

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr {
	var local netip.AddrPort
	_ = c.control(func(fd int) error {
		local = localAddr(fd)
		return nil
	})
	return net.TCPAddrFromAddrPort(local)
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(&t, &t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(&t, nil) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(nil, &t) }

func (c *Conn) setDeadlines(read, send *time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil && c.fd < 0 {
		return net.ErrClosed
	}
	if c.lost {
		return nil // the deadlines have passed for good
	}
	if read != nil {
		c.readBy = *read
		if c.file != nil && c.file.SetReadDeadline(*read) != nil {
			return net.ErrClosed
		}
	}
	if send != nil {
		c.sendBy = *send
		if c.file != nil && c.file.SetWriteDeadline(*send) != nil {
			return net.ErrClosed
		}
	}
	return nil
}

// Detach takes the descriptor out of the Conn, which is closed afterwards. The caller
// owns the descriptor. If it was in Go's poller it is returned under another number.
// If ok is false, nothing has changed.
func (c *Conn) Detach() (fd int, ok bool) {
	if c.watched.Load() {
		watches.remove(c)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		fd, c.fd = c.fd, -1
		return fd, fd >= 0
	}
	var err error
	if c.raw.Control(func(have uintptr) { fd, err = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) }) != nil || err != nil {
		return -1, false
	}
	_ = c.file.Close()
	return fd, true
}

// Restore undoes Detach.
func (c *Conn) Restore(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file, c.raw, c.wait, c.fd = nil, nil, nil, fd
}
