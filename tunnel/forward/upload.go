package forward

import (
	"io"
	"strconv"
	"sync"
	"time"

	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
)

// upload sends a request: its head, and the content behind it. Content that has arrived
// with the head is sent along with it; other content is sent by a goroutine, while the
// reply is read already.
type upload struct {
	x       *exchange
	waits   bool          // the content waits for proceed
	running chan struct{} // closed when the goroutine has ended; nil = there is none
	sent    bool          // all was sent; read it after the goroutine has ended
}

// Room before the data of a chunk for its size, and behind it for its end.
const (
	chunkStart = 10
	chunkEnd   = 2
)

var uploadBuffers = sync.Pool{New: func() any { return new([chunkStart + 32<<10 + chunkEnd]byte) }}

// settleTime bounds the wait for the writing of content that the next hop has replied to.
const settleTime = time.Second

// begin sends the head and begins to send the content. If the next hop does not take the
// head it may have replied all the same (RFC 9112, section 9.5), so errors are left to
// the reading of the reply.
func (u *upload) begin(x *exchange, head []byte) {
	*u = upload{x: x}
	switch content := x.body.content; {
	case content == nil:
		u.sent = u.write(head) == nil
	case x.expects && x.Head.Minor == 1:
		u.waits = u.write(head) == nil
	case x.length > 0 && x.length <= maxWithHead && content.Arrived():
		head = append(head, make([]byte, x.length)...)
		// It cannot fail, since all of it has arrived.
		_, _ = io.ReadFull(&x.body, head[len(head)-int(x.length):])
		x.exchanges.head = head
		u.sent = u.write(head) == nil
	default:
		if u.write(head) == nil {
			u.start()
		}
	}
}

// maxWithHead is the most content in bytes that is sent along with the head.
const maxWithHead = 8 << 10

func (u *upload) write(b []byte) error {
	u.x.phase.sending.Store(true)
	_, err := u.x.upstream.conn.Write(b)
	u.x.phase.sending.Store(false)
	return err
}

// proceed sends the content that waited for it.
func (u *upload) proceed() {
	if u.waits {
		u.waits = false
		u.start()
	}
}

func (u *upload) start() {
	u.running = make(chan struct{})
	go u.run()
}

// wait waits until nothing is sent any more.
func (u *upload) wait() {
	if u.running != nil {
		<-u.running
	}
}

// whole reports whether all of the request was sent. If the client has sent all of it,
// the rest may be on its way still.
func (u *upload) whole() bool {
	if u.running == nil {
		return u.sent
	}
	if !u.x.body.done.Load() {
		return false
	}
	patience := time.NewTimer(settleTime)
	defer patience.Stop()
	select {
	case <-u.running:
		return u.sent
	case <-patience.C:
		return false
	}
}

// run copies the content to the next hop.
func (u *upload) run() {
	defer close(u.running)
	defer panics.Recover("an upload", u.fail)
	buffer := uploadBuffers.Get().(*[chunkStart + 32<<10 + chunkEnd]byte)
	defer uploadBuffers.Put(buffer)
	for splices := true; ; {
		if splices && u.x.body.spliceable() {
			if over := u.splice(); over {
				return
			}
			splices = false // the rest has to be copied
		}
		n, err := u.x.body.Read(buffer[chunkStart : len(buffer)-chunkEnd])
		if err != nil && err != io.EOF {
			u.fail()
			return
		}
		out := buffer[chunkStart : chunkStart+n]
		if u.x.length < 0 {
			out = u.frame(buffer[:], n, err == io.EOF)
		}
		if len(out) > 0 && u.write(out) != nil {
			return // the next hop may have replied
		}
		if err == io.EOF {
			u.sent = true
			return
		}
	}
}

// splice moves the content in the kernel. It returns false if the rest has to be copied.
func (u *upload) splice() (over bool) {
	x := u.x
	s := newSplicer(x.exchanges.conn, x.upstream.conn)
	for s != nil {
		n, err := x.body.takeBy(s)
		switch {
		case err != nil && err != io.EOF:
			u.fail()
			return true
		case n == 0 && err == nil:
			return false
		}
		x.phase.sending.Store(true)
		failed := s.give(func(int) {})
		x.phase.sending.Store(false)
		if failed != nil {
			return true // the next hop may have replied
		}
		if err == io.EOF {
			u.sent = true
			return true
		}
	}
	return false
}

// frame makes the n bytes at chunkStart a chunk, followed at the end by the last chunk
// and the trailer section (RFC 9112, section 7.1).
func (u *upload) frame(buffer []byte, n int, last bool) []byte {
	out := buffer[:0]
	if n > 0 {
		var digits [chunkStart]byte
		size := append(strconv.AppendInt(digits[:0], int64(n), 16), "\r\n"...)
		start := chunkStart - len(size)
		copy(buffer[start:], size)
		out = append(buffer[start:chunkStart+n], "\r\n"...)
	}
	if last {
		out = append(out, "0\r\n"...)
		for _, f := range trailerFields(u.x.body.content.Trailer()) {
			out = appendField(out, f.Name, f.Value)
		}
		out = append(out, "\r\n"...)
	}
	return out
}

// fail ends the waiting for a reply, since the client did not send all of its request.
func (u *upload) fail() {
	x := u.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.upstream != nil {
		_ = x.upstream.conn.SetReadDeadline(sock.Past)
	}
}

var _ Content = (*wire.Content)(nil)
