//go:build !unix

package stdio

import (
	"errors"
	"os"
	"syscall"
)

// noHandOver is errors.ErrUnsupported with a message of its own.
type noHandOver struct{}

func (noHandOver) Error() string { return "cannot pass a socket on: no system but unix can" }
func (noHandOver) Unwrap() error { return errors.ErrUnsupported }

// CheckHandOver returns errors.ErrUnsupported: this system cannot pass sockets on.
func CheckHandOver(*os.File) error { return noHandOver{} }

func sendSocket(*os.File, syscall.RawConn) error { return noHandOver{} }
