package sock

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is what is known of a connection's other end without reading.
type Peer struct {
	Ended bool // it has ended its side
	Reset bool // it has broken the connection
	Held  bool // there are bytes of it that were not read
}

// PeerOf returns what this host knows of a socket's peer. It waits for nothing, and
// consumes nothing. For any other connection it knows nothing.
func PeerOf(conn net.Conn) (p Peer) {
	if own, ok := conn.(*Conn); ok {
		if own.control(func(fd int) error { p = peerOf(fd); return nil }) != nil {
			p.Reset = true
		}
		return p
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return p
	}
	raw, err := socket.SyscallConn()
	if err != nil || raw.Control(func(fd uintptr) { p = peerOf(int(fd)) }) != nil {
		p.Reset = true
	}
	return p
}

func peerOf(fd int) (p Peer) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(fds, 0); err != nil {
		return p
	}
	p.Reset = fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	p.Ended = fds[0].Revents&unix.POLLRDHUP != 0
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	p.Held = err == nil && n > 0
	return p
}
