//go:build !unix

package stdio

import (
	"context"
	"io"
	"os"
)

// HandOverRelay is errors.ErrUnsupported on this system.
func HandOverRelay(*os.File, io.Writer, func()) (code int, err error) { return 0, noHandOver{} }

// BehindSocket is a process's place behind a socket that was handed over, which
// no process has on this system.
type BehindSocket struct{ Socket *os.File }

// FindBehindSocket returns nil.
func FindBehindSocket() *BehindSocket { return nil }

// Context is never cancelled.
func (*BehindSocket) Context() context.Context { return context.Background() }

// Opened does nothing.
func (*BehindSocket) Opened() error { return nil }
