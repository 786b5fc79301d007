package sock

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Connect opens one TCP connection, a *Conn with TCP_NODELAY and keepalive. The caller
// closes it.
func Connect(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	if ap.Addr().Zone() != "" {
		return connectZone(ctx, ap)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	const attempts = 3
	for range attempts {
		c, err := connectOnce(ctx, ap)
		switch {
		case err != nil:
			return nil, err
		case !c.isOwnPeer():
			return c, nil
		}
		c.Close()
	}
	return nil, os.NewSyscallError("connect", unix.ECONNREFUSED)
}

// connectZone is Connect for an address with a zone: package net knows the numbers of
// the interfaces.
func connectZone(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	conn, err := d.DialContext(ctx, "tcp", ap.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if failed := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return newConn(fd, ap), nil
}

// isOwnPeer reports whether the connection leads to itself. This happens when the
// target is a port of this host that nothing listens on, and the kernel happens to
// choose the same port for the local end.
func (c *Conn) isOwnPeer() (own bool) {
	_ = c.control(func(fd int) error {
		own = localAddr(fd) == netip.AddrPortFrom(c.remote.Addr().Unmap(), c.remote.Port())
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
	c := newConn(int(fd), ap)
	if errno := setTCPOptions(int(fd)); errno != 0 {
		c.Close()
		return nil, os.NewSyscallError("setsockopt", errno)
	}
	errno = to.connectNow(int(fd))
	if errno == unix.EINPROGRESS || errno == unix.EINTR {
		errno = to.connectNow(int(fd)) // within this host it may be connected already
	}
	if errno == unix.EALREADY {
		var err error
		if errno, err = c.awaitConnect(ctx, &to); err != nil {
			c.Close()
			return nil, err
		}
	}
	if errno == unix.EADDRNOTAVAIL && !to.hasSource(family) {
		errno = unix.ENETUNREACH
	}
	if errno != 0 {
		c.Close()
		return nil, os.NewSyscallError("connect", errno)
	}
	return c, nil
}

// hasSource reports whether this machine has an address from which to reach a. Without
// one, as where IPv6 is off, a connect fails with the error that it has when all local
// ports are in use. A connect by UDP sends nothing.
func (a *sockaddr) hasSource(family int) bool {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return true
	}
	defer closeNow(int(fd))
	return a.connectNow(int(fd)) != unix.EADDRNOTAVAIL
}

// awaitConnect waits until the connection is established or has failed, or until
// ctx is done.
func (c *Conn) awaitConnect(ctx context.Context, to *sockaddr) (errno syscall.Errno, err error) {
	raw, err := c.park()
	if err != nil {
		return 0, err
	}
	release := InterruptOnDone(ctx, c)
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

// setTCPOptions sets the options that package net sets for every TCP connection,
// with the keepalive of this package.
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
