package sock

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// listener accepts connections of type *Conn. The options of a connection are set
// once, on the listening socket: accepted sockets inherit them.
type listener struct {
	file *os.File
	raw  syscall.RawConn
	addr net.Addr
}

// Listen opens a TCP listener on address. The connections it accepts are of type
// *Conn, with TCP_NODELAY and keepalive. The caller closes it.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return listen(ctx, network, address, func(string, int) error { return nil })
}

// ListenEarly is Listen for an address that this machine does not have yet. The listener
// accepts connections from the moment that it has it.
func ListenEarly(ctx context.Context, network, address string) (net.Listener, error) {
	return listen(ctx, network, address, func(network string, fd int) error {
		if network == "tcp6" {
			return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		}
		return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	})
}

// listen is Listen with another option of the listening socket.
func listen(ctx context.Context, network, address string, option func(network string, fd int) error) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: func(network, _ string, raw syscall.RawConn) error {
		var err error
		failed := raw.Control(func(fd uintptr) {
			if errno := setTCPOptions(int(fd)); errno != 0 {
				err = errno
			} else {
				err = option(network, int(fd))
			}
		})
		if err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		return failed
	}}
	config.SetMultipathTCP(false) // its sockets support neither splice(2) nor these options
	bound, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer bound.Close() // the listener keeps a second descriptor of the same socket
	l := &listener{addr: bound.Addr()}
	if l.file, err = bound.(*net.TCPListener).File(); err != nil {
		return nil, err
	}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		l.file.Close()
		return nil, err
	}
	return l, nil
}

// Accept implements net.Listener. The connection is a *Conn.
func (l *listener) Accept() (net.Conn, error) {
	var fd int
	var remote netip.AddrPort
	var errno syscall.Errno
	err := l.raw.Read(func(listening uintptr) bool {
		fd, remote, errno = acceptNow(int(listening))
		if isLackOfDescriptors(errno) && !isReadable(int(listening)) {
			errno = unix.EAGAIN // it looks for a descriptor before it looks for a client
		}
		return errno != unix.EAGAIN && errno != unix.EINTR
	})
	switch {
	case err != nil:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	case errno != 0:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: os.NewSyscallError("accept4", errno)}
	}
	return newConn(fd, remote), nil
}

func isLackOfDescriptors(errno syscall.Errno) bool {
	return errno == unix.EMFILE || errno == unix.ENFILE
}

// ClientWaits reports whether a client waits for Accept, as far as that can be told.
func ClientWaits(l net.Listener) bool {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	waits := true
	if err == nil {
		_ = raw.Control(func(fd uintptr) { waits = isReadable(int(fd)) })
	}
	return waits
}

// isReadable reports whether a read of a socket, or an accept, would not wait.
func isReadable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err != nil || n > 0
}

// Close implements net.Listener.
func (l *listener) Close() error {
	if l.file.Close() != nil {
		return net.ErrClosed
	}
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }
