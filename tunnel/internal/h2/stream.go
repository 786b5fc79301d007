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

// Stream is one request and its reply on a Conn. It is a net.Conn for their content, or for
// the bytes of a tunnel. Its owner ends it with Close or Reset.
type Stream struct {
	conn *Conn
	id   uint32

	// conn.mu guards the fields below.
	readable, writable sync.Cond

	recv       recvBuffer
	recvWindow int       // bytes that the peer may still send
	grant      int       // the size of the window
	credit     int       // bytes that were read and not yet returned as credit
	returned   time.Time // when credit was returned last
	recvEnded  bool
	length     int64 // bytes of content that are still to come; -1 = not known

	pending    []byte // what the current Write has yet to queue
	writing    bool
	sendWindow int
	queued     bool // the stream is in the ring of conn.ready
	next       *Stream
	sendEnded  bool

	heads        []Head // heads of the reply that were not read yet
	trailer      []Field
	headReceived bool // the final head was received
	headSent     bool // the final head was sent
	connect      bool // the stream is a tunnel, with DATA frames only (RFC 9113, section 8.5)
	noContent    bool // the request is a HEAD

	abandonedUntil time.Time // zero = it was not abandoned

	users  int  // the owner, and the handler until it returns
	closed bool // the owner has closed it
	err    error
	done   chan struct{} // the channel of Done; nil = not asked for yet

	readDeadline, writeDeadline deadline
}

// ID returns the number of the stream.
func (s *Stream) ID() uint32 { return s.id }

// Conn returns the connection that the stream is on.
func (s *Stream) Conn() *Conn { return s.conn }

// LocalAddr returns that of the connection.
func (s *Stream) LocalAddr() net.Addr { return s.conn.conn.LocalAddr() }

// RemoteAddr returns that of the connection.
func (s *Stream) RemoteAddr() net.Addr { return s.conn.conn.RemoteAddr() }

// ReadHead waits for the next head of the reply and returns it: first the interim heads,
// then the final one, then io.EOF. It is for clients. ctx and the read deadline apply.
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

// Read reads content. A *StreamError or a *ConnError is returned after the bytes that were
// received before it.
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

// WriteTo writes content to w as it arrives, until its end. It holds a buffer only while
// there is content in it.
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
		m, err := c.writeUnlocked(w, k.unread())
		size := len(k.unread())
		n += int64(m)
		k.free()
		// If the buffer was dropped meanwhile, its size is zero already.
		if s.recv.size = max(0, s.recv.size-size); err != nil {
			return n, err
		}
		s.consumed(size)
	}
}

// awaitRead waits for bytes, and returns an error if there will be none. It does not wait
// if nothing is wanted. The caller holds c.mu.
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

// Trailer returns the trailer fields. They are complete when Read has returned io.EOF.
func (s *Stream) Trailer() []Field {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.trailer
}

// Err returns the error that has ended the stream, a *StreamError or a *ConnError, even if
// there are unread bytes. It is nil while the stream is open and after an orderly end.
func (s *Stream) Err() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.err
}

// Done returns a channel that is closed when the stream has failed or was closed, so that
// nothing can be sent on it any more.
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

// Reset ends the stream with RST_STREAM after the bytes that were written. If the stream
// has ended already, it only closes it.
func (s *Stream) Reset(code ErrCode) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.close(&StreamError{ID: s.id, Code: code})
}

// Close ends the stream. It sends the bytes that were written, and END_STREAM after them. If
// the peer has not sent END_STREAM, the stream is then reset: with an error code if there
// are unread bytes or the request was not answered. The tunnel of a client has a second to
// end without a reset (abandon.go). Close never waits.
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

// close takes the stream from its owner, and resets it if it is still open.
// The caller holds c.mu.
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

// disown takes the stream from its owner. The caller holds c.mu.
func (s *Stream) disown() {
	s.closed = true
	s.wake()
	s.heads, s.trailer = nil, nil
	s.readDeadline.stop()
	s.writeDeadline.stop()
	s.recv.drop()
	s.conn.release(s)
}

// fail ends the stream with an error. Bytes that were received can still be read.
// The caller holds c.mu.
func (s *Stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.wake()
}

// wake wakes all goroutines that wait for the stream. The caller holds c.mu.
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

// endIfBoth removes the stream when both sides have sent END_STREAM. The caller holds c.mu.
func (s *Stream) endIfBoth() {
	if s.recvEnded && s.sendEnded {
		s.conn.forget(s, false)
	}
}
