//go:build !unix

package sock

import (
	"errors"
	"syscall"
)

// CanPeek reports whether Peek works on this system.
const CanPeek = false

// Peek returns errors.ErrUnsupported on this system.
func Peek(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
