//go:build !unix

package stdio

import (
	"context"
	"io"
	"os"
)

// HandOverRelay returns errors.ErrUnsupported on this system.
func HandOverRelay(*os.File, io.Writer, []string, RelayOrders, func()) (code int, err error) {
	return 0, noHandOver{}
}

// RelayProcess is this process if HandOverRelay has started it, which does not happen
// on this system.
type RelayProcess struct {
	Socket *os.File
	Orders RelayOrders
}

// FindRelayProcess returns nil.
func FindRelayProcess() (*RelayProcess, error) { return nil, nil }

// Context returns a context that is never cancelled.
func (*RelayProcess) Context() context.Context { return context.Background() }

// Opened does nothing.
func (*RelayProcess) Opened() error { return nil }
