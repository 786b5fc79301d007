package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Stream is one exchange on a Conn, and a net.Conn for its content: a tunnel's
// bytes, or those of a request and its reply. Close and Reset end it.
type Stream struct {
	conn *Conn
	id   uint32

	// All below is guarded by conn.mu.
	readable, writable sync.Cond

	recv       recvBuffer
	recvWindow int       // what the peer may still send
	grant      int       // the window's size
	credit     int       // read, not yet given back
	returned   time.Time // when credit was given back last
	recvEnded  bool
	length     int64 // content still to come, -1 if not known

	pending    []byte // of the Write under way
	writing    bool
	sendWindow int
	queued     bool // in the ring of those that may send
	next       *Stream
	sendEnded  bool

	heads        []Head // of the reply, not yet read
	trailer      []Field
	headReceived bool // the final head of the peer's
	headSent     bool // ours
	connect      bool // DATA frames only (RFC 9113, section 8.5)
	noContent    bool // the request is a HEAD

	abandonedUntil time.Time // zero unless it was closed and left to end by itself

	users  int  // the owner and the handler
	closed bool // by its owner
	err    error
	done   chan struct{} // nil until somebody asks

	readDeadline, writeDeadline deadline
}

// ID returns the stream's number.
func (s *Stream) ID() uint32 { return s.id }

// Conn returns the connection that the stream is on.
func (s *Stream) Conn() *Conn { return s.conn }

// LocalAddr returns the connection's.
func (s *Stream) LocalAddr() net.Addr { return s.conn.conn.LocalAddr() }

// RemoteAddr returns the connection's.
func (s *Stream) RemoteAddr() net.Addr { return s.conn.conn.RemoteAddr() }

// ReadHead returns the next head of a reply: interim ones, then the final one,
// once. It is the client's.
func (s *Stream) ReadHead(ctx context.Context) (Head, error) {
	c := s.conn
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.readable.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case s.closed:
			return Head{}, net.ErrClosed
		case len(s.heads) > 0:
			head := s.heads[0]
			if s.heads = s.heads[1:]; len(s.heads) == 0 {
				s.heads = nil
			}
			return head, nil
		case s.err != nil:
			return Head{}, s.err
		case s.headReceived:
			return Head{}, io.EOF
		case ctx.Err() != nil:
			return Head{}, context.Cause(ctx)
		case s.readDeadline.passed():
			return Head{}, os.ErrDeadlineExceeded
		}
		s.readable.Wait()
	}
}

// Read reads content. The end is io.EOF; a *StreamError or a *ConnError comes
// after the bytes that were received before it.
func (s *Stream) Read(b []byte) (int, error) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if err := s.awaitRead(len(b) == 0); err != nil {
		return 0, err
	}
	n := s.recv.read(b)
	s.consumed(n)
	return n, nil
}

// WriteTo writes content to w as it comes, until its end. It holds a buffer
// only while there is content in it, unlike io.Copy between other things.
func (s *Stream) WriteTo(w io.Writer) (n int64, err error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := s.awaitRead(false); err != nil {
			if errors.Is(err, io.EOF) {
				return n, nil
			}
			return n, err
		}
		k := s.recv.take()
		c.mu.Unlock()
		m, err := w.Write(k.unread())
		c.mu.Lock()
		size := len(k.unread())
		n += int64(m)
		k.free()
		// A buffer that was dropped meanwhile has counted these bytes out.
		if s.recv.size = max(0, s.recv.size-size); err != nil {
			return n, err
		}
		s.consumed(size)
	}
}

// awaitRead waits for bytes, and returns why there will be none. c.mu is held.
func (s *Stream) awaitRead(nothing bool) error {
	for {
		switch {
		case s.closed:
			return net.ErrClosed
		case s.readDeadline.passed():
			return os.ErrDeadlineExceeded
		case s.recv.first != nil || nothing:
			return nil
		case s.recvEnded:
			return io.EOF
		case s.err != nil:
			return s.err
		}
		s.readable.Wait()
	}
}

// Trailer returns the trailer fields, once Read has returned io.EOF.
func (s *Stream) Trailer() []Field {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.trailer
}

// Err returns why the stream broke, a *StreamError or a *ConnError: also while
// there are bytes that nobody has read. It is nil for a stream that is whole,
// or has ended as it should.
func (s *Stream) Err() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.err
}

// Done returns a channel that is closed when the stream has broken or has been
// closed: nothing can be sent on it any more.
func (s *Stream) Done() <-chan struct{} {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.closed || s.err != nil {
			close(s.done)
		}
	}
	return s.done
}

// Reset ends the stream at once with RST_STREAM, behind what was written. If it
// has ended already, it is closed as by Close.
func (s *Stream) Reset(code ErrCode) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.close(&StreamError{ID: s.id, Code: code})
}

// Close ends the stream. What was written is sent, and END_STREAM behind it. A
// peer that has not sent its last is told that nobody will read it; if it
// cannot have been told all, because bytes that it sent lie unread or a request
// was never answered, with an error. A client's tunnel gets a second to end
// without (abandon.go). It never waits.
func (s *Stream) Close() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	e := &StreamError{ID: s.id, Code: CodeCancel}
	switch {
	case !s.headSent:
		e.Code = CodeInternal
	case s.sendEnded:
	case s.recv.size == 0 && !s.writing && s.err == nil:
		s.endWrite()
	default:
		s.close(e)
		return nil
	}
	if s.conn.client && s.connect && s.sendEnded && !s.recvEnded && s.recv.size == 0 && s.err == nil && s.headReceived {
		s.abandon()
		return nil
	}
	if s.sendEnded && !s.conn.client {
		e.Code = CodeNo // RFC 9113, section 8.1: the answer is complete
	}
	s.close(e)
	return nil
}

// close takes the stream from its owner, with a reset if it is still open.
// c.mu is held.
func (s *Stream) close(e *StreamError) {
	if s.closed {
		return
	}
	c := s.conn
	if c.streams[s.id] == s {
		c.writeReset(s.id, e.Code)
		c.forget(s, true)
	}
	s.disown()
}

// disown takes the stream from its owner. c.mu is held.
func (s *Stream) disown() {
	s.closed = true
	s.wake()
	s.heads, s.trailer = nil, nil
	s.readDeadline.stop()
	s.writeDeadline.stop()
	s.recv.drop()
	s.conn.release(s)
}

// fail breaks the stream: what was received can still be read. c.mu is held.
func (s *Stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.wake()
}

func (s *Stream) wake() {
	s.readable.Broadcast()
	s.writable.Broadcast()
	if s.done != nil {
		select {
		case <-s.done:
		default:
			close(s.done)
		}
	}
}

// endIfBoth takes the stream off the books when both sides have sent their
// last. c.mu is held.
func (s *Stream) endIfBoth() {
	if s.recvEnded && s.sendEnded {
		s.conn.forget(s, false)
	}
}
