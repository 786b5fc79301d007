//go:build !linux

package listen

// wireWait is empty: on these systems a tlsWire cannot wait without a buffer.
type wireWait struct{}

// fill waits for bytes from the client, or for its end of file. The inbox must be empty.
func (w *tlsWire) fill() error { return w.fillHolding() }
