//go:build unix

package sock

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const CanPeek = true

// Peek copies what is in the socket to b and leaves it there. It waits for at
// least a byte, end of file or the conn's deadline.
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
