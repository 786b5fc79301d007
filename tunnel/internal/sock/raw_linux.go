package sock

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// RawOf returns the descriptor of a plain stream socket, else nil.
func RawOf(conn net.Conn) syscall.RawConn {
	switch c := conn.(type) {
	case TCP:
		if raw, err := c.SyscallConn(); err == nil {
			return raw
		}
	case *net.UnixConn:
		if raw, err := c.SyscallConn(); err == nil && c.LocalAddr().Network() == "unix" {
			return raw
		}
	}
	return nil
}

// OpError makes a system call's error one like package net's.
func OpError(op string, conn net.Conn, err error) error {
	return &net.OpError{Op: op, Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}

// Splice moves at most size bytes between a pipe and a socket, without
// waiting for either.
func Splice(from, to, size int) (int, error) {
	return retry(func() (int, error) {
		n, err := unix.Splice(from, nil, to, nil, size, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(n), err
	})
}

// Read is read(2), repeated if a signal interrupts it. At end of file it returns
// 0 and no error.
func Read(fd int, b []byte) (int, error) {
	return retry(func() (int, error) { return unix.Read(fd, b) })
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
