//go:build !unix

package stdio

import (
	"context"
	"io"
	"os"
)

// HandOverRelay is errors.ErrUnsupported on this system.
func HandOverRelay(*os.File, io.Writer, func()) (code int, err error) { return 0, noHandOver{} }

// RelayProcess is a process's place behind a socket that was handed over, which
// no process has on this system.
type RelayProcess struct{ Socket *os.File }

// FindRelayProcess returns nil.
func FindRelayProcess() *RelayProcess { return nil }

// Context is never cancelled.
func (*RelayProcess) Context() context.Context { return context.Background() }

// Opened does nothing.
func (*RelayProcess) Opened() error { return nil }
