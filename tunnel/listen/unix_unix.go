//go:build unix

package listen

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
)

// umaskLock is held while the umask of the process is changed to create a socket.
var umaskLock sync.Mutex

// listenPrivate listens on a unix socket that has mode 0600 from its creation.
func listenPrivate(ctx context.Context, config net.ListenConfig, path string) (net.Listener, error) {
	umaskLock.Lock()
	defer umaskLock.Unlock()
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
