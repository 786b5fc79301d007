//go:build !unix

package sock

import (
	"errors"
	"syscall"
)

const CanPeek = false

func Peek(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
