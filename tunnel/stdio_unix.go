//go:build unix

package tunnel

// outputClosed reports whether an error of Out says that its reader is gone.
func outputClosed(err error) bool { return isReset(err) }
