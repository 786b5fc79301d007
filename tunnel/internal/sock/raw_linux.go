package sock

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// RawOf returns the descriptor of a connection that is a TCP or unix stream socket
// and nothing more. For any other connection it returns nil.
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

// OpError returns the error of the system call op on conn in the form that package
// net gives it.
func OpError(op string, conn net.Conn, err error) error {
	return &net.OpError{Op: op, Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}

// Splice moves at most size bytes from one descriptor to another, one of which is
// a pipe, by splice(2). It waits for neither: EAGAIN means that one of them is not
// ready. At end of file it returns 0 and no error.
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
