//go:build unix

package sock

import (
	"net"
	"syscall"
)

// ender is a connection that can tell by itself.
type ender interface{ hasEnded() bool }

// HasEnded reports whether an idle connection is of no more use, as far as this
// host knows: the peer has closed or reset it, or has sent bytes that nothing
// asked for. It consumes nothing.
func HasEnded(conn net.Conn) bool {
	if own, ok := conn.(ender); ok {
		return own.hasEnded()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	// Control instead of Read: another goroutine may be waiting in a Read.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		ended = err != syscall.EAGAIN && err != syscall.EINTR
	})
	return err != nil || ended
}
