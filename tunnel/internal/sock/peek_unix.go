//go:build unix

package sock

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CanPeek reports whether Peek works on this system.
const CanPeek = true

// Peek copies the bytes that a socket has received to b and leaves them in the
// socket. It waits for at least one byte, and returns io.EOF at end of file. The
// connection's read deadline applies.
func Peek(raw syscall.RawConn, b []byte) (n int, err error) {
	failed := raw.Read(func(fd uintptr) bool {
		for err = unix.EINTR; err == unix.EINTR; {
			n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_PEEK)
		}
		return err != unix.EAGAIN
	})
	switch {
	case failed != nil:
		return 0, failed
	case err != nil:
		return 0, os.NewSyscallError("recv", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
