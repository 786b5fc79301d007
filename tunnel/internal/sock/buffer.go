package sock

import "sync"

// Buffer is room for one read of a relay: 32 KiB. Buffers are pooled, and a relay
// holds one only while there are bytes in it.
type Buffer [32 << 10]byte

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// GetBuffer returns a buffer with arbitrary content. The caller releases it.
func GetBuffer() *Buffer { return buffers.Get().(*Buffer) }

// Release returns the buffer to the pool. It must not be used afterwards.
func (b *Buffer) Release() { buffers.Put(b) }
