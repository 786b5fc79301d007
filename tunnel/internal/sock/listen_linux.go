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
func (l *listener) Close() error {
	if l.file.Close() != nil {
		return net.ErrClosed
	}
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }
