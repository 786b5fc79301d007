package listen

import (
	"errors"
	"os"
	"syscall"
)

// Hint returns advice about an error of Spec.Listen, and "" if there is none. It names
// the flags of culvert serve.
func Hint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "something listens there already: end it, or choose another place with --listen"
	case errors.Is(err, os.ErrExist), errors.Is(err, os.ErrNotExist):
		return "a socket wants a folder that exists, and a free name in it: choose another path with --listen"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 and foreign folders need more rights: choose another with --listen"
	case errors.Is(err, syscall.EMFILE):
		return "raise the limit of open descriptors: ulimit -n, or LimitNOFILE= of systemd"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the address is not one of this machine's, or not yet: see ip address"
	}
	return ""
}
