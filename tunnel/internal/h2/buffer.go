package h2

import "sync"

// The sizes of the chunks of a receive buffer: a small one for the few bytes of an
// interactive session, large ones for more.
const (
	smallChunk = 2 << 10
	largeChunk = 32 << 10
)

// chunk is a piece of a receive buffer.
type chunk struct {
	next       *chunk
	begin, end int // of the unread part of bytes
	bytes      []byte
}

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{bytes: make([]byte, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{bytes: make([]byte, largeChunk)} }}
)

// newChunk returns a small chunk if size fits into it, else a large one.
func newChunk(size int) *chunk {
	if size <= smallChunk {
		return smallChunks.Get().(*chunk)
	}
	return largeChunks.Get().(*chunk)
}

func (k *chunk) unread() []byte { return k.bytes[k.begin:k.end] }

// free returns the chunk to its pool.
func (k *chunk) free() {
	k.next, k.begin, k.end = nil, 0, 0
	if len(k.bytes) == smallChunk {
		smallChunks.Put(k)
	} else {
		largeChunks.Put(k)
	}
}

// recvBuffer holds the bytes that were received and not read yet. A chunk is filled up
// before another is added, so that frames of one byte cost no more than others.
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

// take removes the first chunk and returns it. Its bytes still count in size.
func (r *recvBuffer) take() *chunk {
	k := r.first
	r.first, k.next = k.next, nil
	if r.first == nil {
		r.last = nil
	}
	return k
}

// drop discards all bytes.
func (r *recvBuffer) drop() {
	for r.first != nil {
		r.take().free()
	}
	r.size = 0
}
