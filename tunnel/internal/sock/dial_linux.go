package sock

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Connect is Dial for a conn that goes to the event loops: it is a
// *socket.
func Connect(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	if ap.Addr().Zone() != "" {
		return Dial(ctx, ap) // which knows the interfaces' numbers
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	const attempts = 3
	for range attempts {
		s, err := connectOnce(ctx, ap)
		switch {
		case err != nil:
			return nil, err
		case !s.isOwnPeer():
			return s, nil
		}
		s.Close()
	}
	return nil, os.NewSyscallError("connect", unix.ECONNREFUSED)
}

// isOwnPeer reports whether the connection leads to itself. TCP can connect a
// port with itself: a free one of this host that is asked for, where the kernel
// picks just that one for our end.
func (s *Conn) isOwnPeer() (own bool) {
	_ = s.control(func(fd int) error {
		own = localAddr(fd) == netip.AddrPortFrom(s.remote.Addr().Unmap(), s.remote.Port())
		return nil
	})
	return own
}

func connectOnce(ctx context.Context, ap netip.AddrPort) (*Conn, error) {
	to, family := sockaddrOf(ap)
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errno != 0 {
		return nil, os.NewSyscallError("socket", errno)
	}
	s := newConn(int(fd), ap)
	if errno := setTCPOptions(int(fd)); errno != 0 {
		s.Close()
		return nil, os.NewSyscallError("setsockopt", errno)
	}
	errno = to.connectNow(int(fd))
	if errno == unix.EINPROGRESS || errno == unix.EINTR {
		errno = to.connectNow(int(fd)) // it can be there: on this host
	}
	if errno == unix.EALREADY {
		var err error
		if errno, err = s.awaitConnect(ctx, &to); err != nil {
			s.Close()
			return nil, err
		}
	}
	if errno != 0 {
		s.Close()
		return nil, os.NewSyscallError("connect", errno)
	}
	return s, nil
}

// awaitConnect waits until the connection is there, or has failed, or ctx ends.
func (s *Conn) awaitConnect(ctx context.Context, to *sockaddr) (errno syscall.Errno, err error) {
	raw, err := s.park()
	if err != nil {
		return 0, err
	}
	release := InterruptOnDone(ctx, s)
	err = raw.Write(func(fd uintptr) bool {
		errno = to.connectNow(int(fd))
		return errno != unix.EALREADY && errno != unix.EINTR
	})
	release()
	if ended := ctx.Err(); ended != nil && (err != nil || errno == unix.EALREADY) {
		return 0, ended
	}
	return errno, err
}

// setTCPOptions is what package net does for every TCP connection, with our
// keepalive.
func setTCPOptions(fd int) syscall.Errno {
	for _, o := range [...]struct{ level, option, value int }{
		{unix.SOL_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.SOL_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Idle.Seconds())},
		{unix.SOL_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Interval.Seconds())},
		{unix.SOL_TCP, unix.TCP_KEEPCNT, keepAlive.Count},
	} {
		if errno := setNow(fd, o.level, o.option, o.value); errno != 0 {
			return errno
		}
	}
	return 0
}
