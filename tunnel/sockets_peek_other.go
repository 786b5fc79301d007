//go:build !unix

package tunnel

import (
	"errors"
	"syscall"
)

const canPeek = false

func peek(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
