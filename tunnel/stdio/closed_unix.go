//go:build unix

package stdio

import "culvert/tunnel/internal/neterr"

// outputClosed reports whether the error of a write means that there is no reader any
// more.
func outputClosed(err error) bool { return neterr.Reset(err) }
