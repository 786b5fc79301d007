//go:build !unix

package listen

import (
	"context"
	"net"
)

// listenPrivate leaves the socket's protection to its folder.
func listenPrivate(ctx context.Context, config net.ListenConfig, path string) (net.Listener, error) {
	return config.Listen(ctx, "unix", path)
}
