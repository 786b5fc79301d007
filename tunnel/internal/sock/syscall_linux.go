package sock

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls in this file never wait. They are made without the knowledge of
// Go's scheduler, which would otherwise hand the processor to another thread for
// nothing.

func recvNow(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			afterReceive()
			return int(n), errno
		}
	}
}

// peekNow reports what a read would find: 0 for bytes or end of file, else its error.
func peekNow(fd int) syscall.Errno {
	var b [1]byte
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return errno
		}
	}
}

func sendNow(fd int, b []byte) (int, syscall.Errno) {
	beforeSend()
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

func closeNow(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// setNow sets a socket option.
func setNow(fd, level, option, value int) syscall.Errno {
	v := int32(value)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return errno
}

// acceptNow accepts a connection. It returns EAGAIN if none is pending.
func acceptNow(listener int) (fd int, remote netip.AddrPort, errno syscall.Errno) {
	a := sockaddr{size: unix.SizeofSockaddrInet6}
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&a.raw)), uintptr(unsafe.Pointer(&a.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(n), a.addrPort(), 0
}

// localAddr returns the address that a socket is bound to, invalid if that cannot be
// found out.
func localAddr(fd int) netip.AddrPort {
	a := sockaddr{size: unix.SizeofSockaddrInet6}
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(unsafe.Pointer(&a.size)))
	if errno != 0 {
		return netip.AddrPort{}
	}
	return a.addrPort()
}

// connectNow starts to connect to a, and reports the state of the attempt when it is
// called again: EINPROGRESS and EALREADY mean that it is under way, 0 that the
// socket is connected.
func (a *sockaddr) connectNow(fd int) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(a.size))
	if errno == unix.EISCONN {
		return 0
	}
	return errno
}
