package h2

import (
	"io"
	"sync"
)

// inputBuffer is the buffer of a connection on which much arrives. One on which little
// arrives gets by with the few bytes of input itself.
type inputBuffer [64 << 10]byte

var inputBuffers = sync.Pool{New: func() any { return new(inputBuffer) }}

// input reads from a connection through a buffer, which is small while nothing arrives: a
// read that waits needs one.
type input struct {
	from   io.Reader
	unread []byte // a part of small or big
	last   int    // the size of the last read
	small  [256]byte
	big    *inputBuffer // borrowed; nil while little arrives
}

// fill reads once. There must be no unread bytes.
func (in *input) fill() error {
	switch {
	case in.big == nil && in.last == len(in.small):
		in.big = inputBuffers.Get().(*inputBuffer)
	case in.big != nil && in.last < len(in.small):
		in.release()
	}
	into := in.small[:]
	if in.big != nil {
		into = in.big[:]
	}
	for range 100 {
		n, err := in.from.Read(into)
		in.last, in.unread = n, into[:n]
		if n > 0 {
			return nil // the next read returns the error again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// Read implements io.Reader for the Framer: for frame headers, and for payloads other
// than that of DATA.
func (in *input) Read(b []byte) (int, error) {
	piece, err := in.next(len(b))
	return copy(b, piece), err
}

// next returns at most the next n bytes, where n > 0. They are valid until the next call.
func (in *input) next(n int) ([]byte, error) {
	if len(in.unread) == 0 {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	piece := in.unread[:min(n, len(in.unread))]
	in.unread = in.unread[len(piece):]
	return piece, nil
}

// release returns the big buffer to its pool. There must be no unread bytes.
func (in *input) release() {
	if in.big != nil {
		inputBuffers.Put(in.big)
		in.big, in.unread = nil, nil
	}
}
