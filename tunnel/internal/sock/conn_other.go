//go:build !linux

package sock

import (
	"context"
	"net"
	"net/netip"
)

// Listen opens a TCP listener on address, whose connections have keepalive. The
// caller closes it.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	return config.Listen(ctx, network, address)
}

// Connect opens one TCP connection with TCP_NODELAY, which is Go's default, and
// keepalive. The caller closes it.
func Connect(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	return d.DialContext(ctx, "tcp", ap.String())
}
