package h2

import "sync"

// Chunks of a stream's receive buffer: a small one for the few bytes of a
// conversation, large ones for more.
const (
	smallChunk = 2 << 10
	largeChunk = 32 << 10
)

type chunk struct {
	next       *chunk
	begin, end int // of what is unread in bytes
	bytes      []byte
}

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{bytes: make([]byte, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{bytes: make([]byte, largeChunk)} }}
)

func newChunk(size int) *chunk {
	if size <= smallChunk {
		return smallChunks.Get().(*chunk)
	}
	return largeChunks.Get().(*chunk)
}

func (k *chunk) unread() []byte { return k.bytes[k.begin:k.end] }

func (k *chunk) free() {
	k.next, k.begin, k.end = nil, 0, 0
	if len(k.bytes) == smallChunk {
		smallChunks.Put(k)
	} else {
		largeChunks.Put(k)
	}
}

// recvBuffer is what was received and not read yet. Chunks are filled up
// before there is another, so that frames of one byte cost no more than others.
type recvBuffer struct {
	first, last *chunk
	size        int
}

func (r *recvBuffer) append(b []byte) {
	r.size += len(b)
	for len(b) > 0 {
		k := r.last
		if k == nil || k.end == len(k.bytes) {
			size := len(b)
			if k != nil {
				size = largeChunk
			}
			k = newChunk(size)
			if r.last == nil {
				r.first = k
			} else {
				r.last.next = k
			}
			r.last = k
		}
		n := copy(k.bytes[k.end:], b)
		k.end += n
		b = b[n:]
	}
}

func (r *recvBuffer) read(b []byte) (n int) {
	for n < len(b) && r.first != nil {
		k := r.first
		m := copy(b[n:], k.unread())
		n += m
		if k.begin += m; k.begin == k.end {
			r.take()
			k.free()
		}
	}
	r.size -= n
	return n
}

// take removes the first chunk, whose bytes stay counted in size.
func (r *recvBuffer) take() *chunk {
	k := r.first
	r.first, k.next = k.next, nil
	if r.first == nil {
		r.last = nil
	}
	return k
}

func (r *recvBuffer) drop() {
	for r.first != nil {
		r.take().free()
	}
	r.size = 0
}
