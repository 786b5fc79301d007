//go:build !linux

package sock

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"culvert/tunnel/internal/vanish"
)

// Listen opens a TCP listener on address, whose connections have keepalive and find a
// peer that has vanished, where the system can. The caller closes it.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &listener{l}, nil
}

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		setOptions(conn)
	}
	return conn, err
}

// ListenEarly returns an error: such an address cannot be bound here.
func ListenEarly(context.Context, string, string) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}

// Connect opens one TCP connection with TCP_NODELAY, which is Go's default, and
// keepalive. The caller closes it.
func Connect(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	conn, err := d.DialContext(ctx, "tcp", ap.String())
	if err == nil {
		setOptions(conn)
	}
	return conn, err
}

// setOptions lets the kernel find a peer that vanishes with bytes on their way to it. A
// system that cannot finds it later.
func setOptions(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = vanish.SetOptions(fd) })
		}
	}
}

// WatchPeer does nothing on this system, where the kernel watches peers.
func WatchPeer(TCP, func(error)) (stop func()) { return func() {} }
