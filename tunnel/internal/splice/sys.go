//go:build linux

package splice

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls in this file never wait. Most are made without the knowledge of Go's
// scheduler, which would otherwise hand the processor to another thread for nothing, at
// a cost above that of some of these calls. The longest of them, a splice of a full
// pipe, takes a few hundred microseconds.

// recv reads the bytes that are available, as far as they fit. EAGAIN means none.
func recv(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// send writes as much as the send queue accepts. EAGAIN means nothing.
func send(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// move splices at most size bytes between a pipe and a socket. EAGAIN means that one of
// them is not ready.
func move(from, to int32, size int) (int, syscall.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(size), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// poll fills events with those that have occurred, and returns how many there are.
func poll(epoll int, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// watch is epoll_ctl(2).
func watch(epoll, op int, fd int32, event *unix.EpollEvent) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(event)), 0, 0)
	return errno
}

// shutWrite sends end of file.
func shutWrite(fd int32) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return errno
}

// closeSocket closes a socket that does not linger, which takes no time.
func closeSocket(fd int32) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// socketOption returns the value of an option of SOL_SOCKET, 0 after an error.
func socketOption(fd int32, option int) int32 {
	value := int32(0)
	size := uint32(unsafe.Sizeof(value))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(option), uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return value
}

// pendingError returns the error that a socket has pending, and clears it.
func pendingError(fd int32) syscall.Errno { return syscall.Errno(socketOption(fd, unix.SO_ERROR)) }

// isTCP reports whether a socket is a TCP connection, as opposed to a unix socket or a
// protocol that resembles TCP.
func isTCP(fd int32) bool { return socketOption(fd, unix.SO_PROTOCOL) == unix.IPPROTO_TCP }

// tcpState returns the state of a TCP connection. ok is false for any other socket.
func tcpState(fd int32) (state uint8, ok bool) {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false
	}
	return info.State, true
}

// unsent reports whether a TCP connection has bytes that its peer has yet to acknowledge,
// and is still connected.
func unsent(fd int32) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil || n == 0 {
		return false
	}
	state, ok := tcpState(fd)
	return ok && state != unix.BPF_TCP_CLOSE
}
