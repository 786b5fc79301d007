//go:build !linux

package tunnel

import (
	"context"
	"net"
	"net/netip"
)

// listenTCP binds a TCP listener; the caller closes it.
func listenTCP(ctx context.Context, network, address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	return config.Listen(ctx, network, address)
}

// connectSocket is connectTCP where there are no event loops.
func connectSocket(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	return connectTCP(ctx, ap)
}
