package h2

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

var (
	errShortContent = errors.New("less content than content-length says")
	errLongContent  = errors.New("more content than content-length says")
)

// readData reads a DATA frame into the buffer of its stream, without a copy in between.
func (c *Conn) readData(head http2.FrameHeader) error {
	if head.StreamID == 0 {
		return violation(CodeProtocol, "DATA on stream 0")
	}
	padding := 0
	rest := int(head.Length)
	if head.Flags.Has(http2.FlagDataPadded) {
		b, err := c.in.next(1)
		if err != nil {
			return err
		}
		rest--
		if padding = int(b[0]); padding > rest {
			return violation(CodeProtocol, "more padding than frame") // RFC 9113, section 6.1
		}
	}
	s, err := c.admitData(head, rest-padding)
	var bad *StreamError
	if err != nil && !errors.As(err, &bad) {
		return err
	}
	if err != nil {
		s = nil // its bytes and its END_STREAM are dropped
	}
	for rest > 0 {
		piece, err := c.in.next(rest)
		if err != nil {
			return err
		}
		rest -= len(piece)
		if n := min(len(piece), rest+len(piece)-padding); s != nil && n > 0 {
			c.mu.Lock()
			s.received(piece[:n])
			c.mu.Unlock()
		}
	}
	if s != nil && head.Flags.Has(http2.FlagDataEndStream) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.streams[s.id] == s {
			s.recvEnd()
		}
	}
	return err
}

// admitData checks and counts a DATA frame with n bytes of content. It returns no stream
// if the bytes are to be dropped.
func (c *Conn) admitData(head http2.FrameHeader, n int) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil, nil // the next read returns the error
	}
	if c.cfg.Observe != nil {
		c.cfg.Observe(Frame{Type: head.Type, Flags: head.Flags, Stream: head.StreamID, Length: int(head.Length)})
	}
	size := int(head.Length)
	// Credit is returned on receipt, whether the bytes are read or not. So the peer
	// cannot exceed this window; the windows of the streams bound what is held.
	if c.unreturned += size; c.unreturned >= c.cfg.connWindow()/4 {
		c.writeWindowUpdate(0, c.unreturned)
		c.unreturned = 0
	}
	if len(c.out) > c.cfg.MaxBuffered {
		return nil, violation(CodeEnhanceYourCalm, "the peer does not read")
	}
	ending := head.Flags.Has(http2.FlagDataEndStream)
	if n == 0 && !ending {
		if err := c.chargeFrame(); err != nil {
			return nil, err
		}
	} else {
		c.frameBudget.earn(1)
	}
	s := c.streams[head.StreamID]
	if s == nil {
		return nil, c.lateData(head.StreamID)
	}
	return s, s.admit(size, n, ending)
}

// lateData handles DATA for a stream that does not exist or has ended.
func (c *Conn) lateData(id uint32) error {
	if c.openedBeforeGoAway(id) {
		return nil
	}
	if c.isIdle(id) {
		return violation(CodeProtocol, "DATA on stream %d, which is idle", id)
	}
	if _, reset := c.hasEnded(id); reset {
		return nil // it was on its way
	}
	return &StreamError{ID: id, Code: CodeStreamClosed, Detail: "DATA on a stream that has ended"}
}

// admit checks and counts a DATA frame of size bytes, n of them content.
func (s *Stream) admit(size, n int, ending bool) error {
	bad := func(code ErrCode, detail string) error {
		return &StreamError{ID: s.id, Code: code, Detail: detail}
	}
	switch {
	case s.recvEnded:
		return bad(CodeStreamClosed, "DATA after END_STREAM")
	case !s.headReceived:
		return bad(CodeProtocol, "DATA before the reply's head")
	case size > s.recvWindow:
		return bad(CodeFlowControl, "DATA beyond the stream's window")
	case s.noContent && s.conn.client && n > 0:
		return bad(CodeProtocol, "content in a reply to HEAD")
	}
	s.recvWindow -= size
	if s.length >= 0 {
		if s.length -= int64(n); s.length < 0 {
			return bad(CodeProtocol, errLongContent.Error())
		}
		if ending && s.length > 0 {
			return bad(CodeProtocol, errShortContent.Error())
		}
	}
	if size > n { // padding is read already
		s.consumed(size - n)
	}
	return nil
}

// received adds bytes to the receive buffer. The caller holds c.mu.
func (s *Stream) received(b []byte) {
	if s.closed || s.conn.streams[s.id] != s {
		if !s.abandonedUntil.IsZero() && s.conn.streams[s.id] == s {
			s.resetUnwanted()
		}
		return // they will not be read
	}
	if s.recv.size == 0 {
		s.readable.Broadcast()
	}
	s.recv.append(b)
}

// recvEnd records that END_STREAM was received. The caller holds c.mu.
func (s *Stream) recvEnd() {
	s.recvEnded = true
	s.readable.Broadcast()
	s.endIfBoth()
}

// consumed gives the peer credit for n bytes that were read or dropped, in pieces of half
// a window. It enlarges the window of a stream that uses it up fast. The caller holds c.mu.
func (s *Stream) consumed(n int) {
	c := s.conn
	if s.credit += n; s.credit < s.grant/2 || s.recvEnded || c.streams[s.id] != s {
		return
	}
	credit := s.credit
	now := time.Now()
	// If half a window takes no longer than a long round trip, the window may be what
	// limits the stream. An owner that does not keep up needs no larger one.
	if now.Sub(s.returned) < growWithin && s.recv.size < s.grant/2 {
		more := max(0, min(s.grant, c.cfg.MaxStreamWindow-s.grant, c.surplus))
		c.surplus -= more
		s.grant += more
		credit += more
	}
	s.returned = now
	s.credit = 0
	s.recvWindow += credit
	c.writeWindowUpdate(s.id, credit)
}
