//go:build !linux

package listen

// wireWait is what a tlsWire needs to wait without a buffer: that is not to be
// had here.
type wireWait struct{}

// fill waits for bytes from the client, or its end of file, with the inbox
// empty.
func (w *tlsWire) fill() error { return w.fillHolding() }
