package tunnel

import (
	"errors"

	"golang.org/x/sys/windows"
)

// outputClosed reports whether an error of Out says that its reader is gone.
func outputClosed(err error) bool {
	return isReset(err) || errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}
