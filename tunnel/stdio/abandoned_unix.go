//go:build unix

package stdio

import (
	"os"

	"golang.org/x/sys/unix"
)

// hungUp reports whether the other end of a pipe or socket is closed.
func hungUp(file *os.File) (gone bool) {
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		ends := []unix.PollFd{{Fd: int32(fd)}} // POLLERR and POLLHUP need not be asked for
		n, err := unix.Poll(ends, 0)
		gone = err == nil && n == 1 && ends[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	})
	return err == nil && gone
}
