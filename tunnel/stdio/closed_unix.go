//go:build unix

package stdio

import "culvert/tunnel/internal/neterr"

// outputClosed reports whether an error of Out says that its reader is gone.
func outputClosed(err error) bool { return neterr.Reset(err) }
