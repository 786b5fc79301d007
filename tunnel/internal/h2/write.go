package h2

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"culvert/tunnel/internal/panics"

	"golang.org/x/net/http2"
)

// outBuffer has room for maxWriteBuffer bytes of DATA and for other frames after them, so
// that it does not have to grow.
type outBuffer [maxWriteBuffer + 4<<10]byte

var outBuffers = sync.Pool{New: func() any { return new(outBuffer) }}

// outWriter queues the frames that the Framer writes. The caller holds c.mu.
type outWriter Conn

func (w *outWriter) Write(b []byte) (int, error) {
	(*Conn)(w).queue(b)
	return len(b), nil
}

// queue adds bytes to those that are to be written. The caller holds c.mu.
func (c *Conn) queue(b []byte) {
	if c.dead || c.writeErr != nil {
		return // they would not be written
	}
	if c.out == nil {
		c.out = outBuffers.Get().(*outBuffer)[:0]
	}
	c.out = append(c.out, b...)
}

// freeOut returns a buffer to the pool, unless it has grown.
func freeOut(b []byte) {
	if cap(b) == len(outBuffer{}) {
		outBuffers.Put((*outBuffer)(b[:cap(b)]))
	}
}

// startWriting makes sure that a goroutine writes what is queued. The caller holds c.mu.
func (c *Conn) startWriting() {
	if !c.flushing && (len(c.out) > 0 || c.dead) {
		c.flushing = true
		go c.flush()
	}
}

// writeUnlocked writes to w without the lock, which the caller holds before and after it,
// after a panic too.
func (c *Conn) writeUnlocked(w io.Writer, b []byte) (int, error) {
	c.mu.Unlock()
	defer c.mu.Lock()
	return w.Write(b)
}

// crash is deferred by the goroutines that hold the lock. After a panic it ends the
// connection, of which anything may be inconsistent, at once.
func (c *Conn) crash() {
	value := recover()
	if value == nil {
		return
	}
	panics.Tell("an HTTP/2 connection", value)
	c.abrupt, c.dead = true, true
	if c.err == nil {
		c.err = &ConnError{Err: panics.Err}
	}
	c.timer.Stop()
	for id, s := range c.streams {
		delete(c.streams, id)
		s.fail(c.err)
	}
	c.ready, c.out, c.writeErr, c.writeOver = nil, nil, c.err, true
	c.changed.Broadcast()
	defer panics.Recover("the end of an HTTP/2 connection", nil)
	c.closeConn()
}

// flush writes until nothing is queued.
func (c *Conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.crash()
	for {
		c.queueData()
		if len(c.out) == 0 {
			break
		}
		b := c.out
		c.out, c.spare = c.spare, nil
		_, err := c.writeUnlocked(c.conn, b)
		c.echoes = 0
		c.changed.Broadcast() // for Open, which waits for room
		if c.spare = b[:0]; c.out == nil {
			c.out, c.spare = c.spare, nil
		}
		if err != nil && c.writeErr == nil {
			c.cannotWrite(err)
		}
		if err != nil {
			c.out = c.out[:0]
		}
	}
	freeOut(c.out)
	freeOut(c.spare)
	c.out, c.spare = nil, nil
	if !c.dead {
		c.flushing = false
	} else {
		c.mu.Unlock()
		c.closeOutput()
		c.mu.Lock()
		c.writeOver = true
		c.changed.Broadcast()
	}
}

// queueData queues bytes of the streams that may send, one frame of each in turn, while there is
// room and the window of the connection is open. The caller holds c.mu.
func (c *Conn) queueData() {
	for c.ready != nil && c.sendWindow > 0 && !c.dead && c.writeErr == nil {
		s := c.ready.next
		n := min(len(s.pending), dataFrame, s.sendWindow, c.sendWindow)
		if !s.maySend() {
			n = 0
		}
		if n > 0 && len(c.out)+9+n > c.cfg.WriteBuffer {
			return // whole frames only
		}
		c.unqueue()
		if n <= 0 {
			continue // its Write has returned, or its window is closed again
		}
		c.writeData(s.id, s.pending[:n], false)
		s.sendWindow -= n
		c.sendWindow -= n
		if s.pending = s.pending[n:]; len(s.pending) == 0 {
			s.writable.Broadcast()
		}
		s.enqueue()
	}
}

// enqueue adds a stream to the end of the ring if it may send.
func (s *Stream) enqueue() {
	c := s.conn
	if s.queued || !s.maySend() || s.sendWindow <= 0 {
		return
	}
	s.queued = true
	if c.ready == nil {
		s.next = s
	} else {
		s.next, c.ready.next = c.ready.next, s
	}
	c.ready = s
}

// dequeue removes a stream from any place in the ring. While the window of the connection
// is closed, nothing else would.
func (s *Stream) dequeue() {
	c := s.conn
	if !s.queued || c.ready == nil { // die drops the ring as a whole
		return
	}
	before := c.ready
	for before.next != s {
		before = before.next
	}
	if before == s {
		c.ready = nil
	} else {
		before.next = s.next
		if c.ready == s {
			c.ready = before
		}
	}
	s.next, s.queued = nil, false
}

// unqueue removes the first stream from the ring.
func (c *Conn) unqueue() {
	s := c.ready.next
	if s == c.ready {
		c.ready = nil
	} else {
		c.ready.next = s.next
	}
	s.next, s.queued = nil, false
}

// writeData queues a DATA frame. It does without the Framer, which would copy once more.
func (c *Conn) writeData(id uint32, b []byte, endStream bool) {
	var flags http2.Flags
	if endStream {
		flags = http2.FlagDataEndStream
	}
	var head [9]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(b))<<8|uint32(http2.FrameData))
	head[4] = byte(flags)
	binary.BigEndian.PutUint32(head[5:], id)
	c.queue(head[:])
	c.queue(b)
	c.frameBudget.earn(2 + len(b)>>10)
	c.observeSent(Frame{Type: http2.FrameData, Flags: flags, Stream: id, Length: len(b)})
	c.startWriting()
}

// writeHead queues a field block.
func (c *Conn) writeHead(id uint32, fields []Field, endStream bool) {
	c.block.Reset()
	for _, f := range fields {
		_ = c.enc.WriteField(f) // a write to memory does not fail
	}
	b := c.block.Bytes()
	first := b[:min(len(b), dataFrame)]
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first,
		EndStream: endStream, EndHeaders: len(first) == len(b)})
	var flags http2.Flags
	if endStream {
		flags = http2.FlagHeadersEndStream
	}
	c.frameBudget.earn(2)
	c.observeSent(Frame{Type: http2.FrameHeaders, Flags: flags, Stream: id, Length: len(b), Fields: fields})
	for b = b[len(first):]; len(b) > 0; {
		piece := b[:min(len(b), dataFrame)]
		b = b[len(piece):]
		_ = c.framer.WriteContinuation(id, len(b) == 0, piece)
	}
	if c.block.Cap() > tableSize {
		c.block = bytes.Buffer{} // enc still writes to c.block
	}
	c.startWriting()
}

func (c *Conn) writeReset(id uint32, code ErrCode) {
	_ = c.framer.WriteRSTStream(id, code)
	c.observeSent(Frame{Type: http2.FrameRSTStream, Stream: id, Length: 4, Code: code})
	c.startWriting()
}

func (c *Conn) writeWindowUpdate(id uint32, n int) {
	_ = c.framer.WriteWindowUpdate(id, uint32(n))
	c.observeSent(Frame{Type: http2.FrameWindowUpdate, Stream: id, Length: 4, Increment: uint32(n)})
	c.startWriting()
}

func (c *Conn) writePing(ack bool, data [8]byte) {
	_ = c.framer.WritePing(ack, data)
	var flags http2.Flags
	if ack {
		flags = http2.FlagPingAck
	}
	c.observeSent(Frame{Type: http2.FramePing, Flags: flags, Length: 8})
	c.startWriting()
}

func (c *Conn) writeGoAway(last uint32, code ErrCode, debug string) {
	_ = c.framer.WriteGoAway(last, code, []byte(debug))
	c.observeSent(Frame{Type: http2.FrameGoAway, Length: 8 + len(debug), LastStream: last, Code: code, Debug: debug})
	c.startWriting()
}

// observeSent calls Config.Observe for a frame that was queued.
func (c *Conn) observeSent(f Frame) {
	if c.cfg.Observe != nil {
		f.Sent = true
		c.cfg.Observe(f)
	}
}
