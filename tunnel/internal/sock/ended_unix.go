//go:build unix

package sock

import (
	"net"
	"syscall"
)

// HasEnded reports whether the other side of an idle connection has ended or
// broken it, or spoken unasked, as far as this host knows. Nothing is consumed.
func HasEnded(conn net.Conn) bool {
	Conn, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := Conn.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	// Control, and not Read: the transport holds the right to read.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		ended = err != syscall.EAGAIN && err != syscall.EINTR
	})
	return err != nil || ended
}
