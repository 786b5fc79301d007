package sock

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketListener accepts sockets. What a connection needs of options is set on
// the listening socket once: accepted ones inherit it.
type socketListener struct {
	file *os.File
	raw  syscall.RawConn
	addr net.Addr
}

// Listen binds a TCP listener; the caller closes it.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		var errno syscall.Errno
		if err := raw.Control(func(fd uintptr) { errno = setTCPOptions(int(fd)) }); err != nil {
			return err
		}
		if errno != 0 {
			return os.NewSyscallError("setsockopt", errno)
		}
		return nil
	}}
	config.SetMultipathTCP(false) // whose sockets know neither splice(2) nor our options
	bound, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer bound.Close() // what we keep is a second descriptor of the same socket
	l := &socketListener{addr: bound.Addr()}
	if l.file, err = bound.(*net.TCPListener).File(); err != nil {
		return nil, err
	}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		l.file.Close()
		return nil, err
	}
	return l, nil
}

// Accept implements net.Listener; the conn is a *socket.
func (l *socketListener) Accept() (net.Conn, error) {
	var fd int
	var remote netip.AddrPort
	var errno syscall.Errno
	err := l.raw.Read(func(listener uintptr) bool {
		fd, remote, errno = acceptNow(int(listener))
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

// Close implements net.Listener.
func (l *socketListener) Close() error {
	if l.file.Close() != nil {
		return net.ErrClosed
	}
	return nil
}

// Addr implements net.Listener.
func (l *socketListener) Addr() net.Addr { return l.addr }
