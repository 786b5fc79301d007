//go:build linux

package splice

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// No call here waits for anything but the processor, so that Go's scheduler is
// not told of them: it would give the processor away for no gain, which costs
// more than some of these calls do. The longest, a splice of a full pipe, takes
// a few hundred microseconds.

// recv reads what there is, without waiting.
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

// send writes what there is room for, without waiting.
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

// move splices at most size bytes between a pipe and a socket, without waiting
// for either.
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

// poll takes events that are there already.
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

// socketOption reads one of SOL_SOCKET, 0 if it cannot.
func socketOption(fd int32, option int) int32 {
	value := int32(0)
	size := uint32(unsafe.Sizeof(value))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(option), uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return value
}

// pendingError takes the error that waits at a socket for whoever touches it
// next.
func pendingError(fd int32) syscall.Errno { return syscall.Errno(socketOption(fd, unix.SO_ERROR)) }

// isTCP reports whether a socket is a TCP connection, and neither a unix socket
// nor a protocol that looks like it.
func isTCP(fd int32) bool { return socketOption(fd, unix.SO_PROTOCOL) == unix.IPPROTO_TCP }

// tcpState returns the state of a TCP connection, with ok false for another
// kind of socket.
func tcpState(fd int32) (state uint8, ok bool) {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false
	}
	return info.State, true
}

// unsent reports whether a TCP connection has bytes on the way, and still a
// peer to go to.
func unsent(fd int32) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil || n == 0 {
		return false
	}
	state, ok := tcpState(fd)
	return ok && state != unix.BPF_TCP_CLOSE
}
