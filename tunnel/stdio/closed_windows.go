package stdio

import (
	"errors"

	"culvert/tunnel/internal/neterr"

	"golang.org/x/sys/windows"
)

// outputClosed reports whether the error of a write means that there is no reader any
// more.
func outputClosed(err error) bool {
	return neterr.Reset(err) || errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}
