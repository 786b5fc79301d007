package h2

import (
	"io"
	"sync"
)

// inputBuffer is read into while much comes; a connection on which little does
// makes do with the few bytes of input itself.
type inputBuffer [64 << 10]byte

var inputBuffers = sync.Pool{New: func() any { return new(inputBuffer) }}

// input is the reading side of a connection: a buffer that shrinks while
// nothing comes, for there is no way to wait without one.
type input struct {
	from   io.Reader
	unread []byte // in small or big
	last   int    // bytes of the last read
	small  [256]byte
	big    *inputBuffer // borrowed; nil while little comes
}

// fill reads once. There must be nothing unread.
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
			return nil // an error will come again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// Read is for the Framer: frame headers, and payloads other than DATA's.
func (in *input) Read(b []byte) (int, error) {
	piece, err := in.next(len(b))
	return copy(b, piece), err
}

// next returns up to n of the bytes that come next, n > 0. They are valid until
// the next call.
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

// release gives the big buffer back. Nothing may be unread.
func (in *input) release() {
	if in.big != nil {
		inputBuffers.Put(in.big)
		in.big, in.unread = nil, nil
	}
}
