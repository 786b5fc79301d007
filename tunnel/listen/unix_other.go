//go:build !unix

package listen

import (
	"context"
	"net"
)

// listenPrivate listens on a unix socket, which only its directory protects here.
func listenPrivate(ctx context.Context, config net.ListenConfig, path string) (net.Listener, error) {
	return config.Listen(ctx, "unix", path)
}
