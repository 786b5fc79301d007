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

// Connect is Dial on a system without event loops.
func Connect(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	return Dial(ctx, ap)
}
