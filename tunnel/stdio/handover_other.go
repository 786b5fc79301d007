//go:build !unix

package stdio

import (
	"errors"
	"os"
	"syscall"
)

// noHandOver is errors.ErrUnsupported in words.
type noHandOver struct{}

func (noHandOver) Error() string { return "cannot pass a socket on: no system but unix can" }
func (noHandOver) Unwrap() error { return errors.ErrUnsupported }

// CheckHandOver says that this system cannot pass sockets.
func CheckHandOver(*os.File) error { return noHandOver{} }

func sendSocket(*os.File, syscall.RawConn) error { return noHandOver{} }
