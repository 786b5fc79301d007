package h2

import (
	"slices"
	"time"

	"golang.org/x/net/http2"

	"culvert/tunnel/internal/panics"
)

// readHeaders reads the rest of a field block and passes it to its stream.
func (c *Conn) readHeaders(f *http2.HeadersFrame) error {
	flags, id := f.Flags, f.StreamID
	length := f.Length
	selfDependent := f.HasPriority() && f.Priority.StreamDep == id
	fields, tooLarge, err := c.readBlock(f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil // the next read returns the error
	}
	if c.cfg.Observe != nil {
		c.cfg.Observe(Frame{Type: http2.FrameHeaders, Flags: flags, Stream: id, Length: int(length), Fields: fields})
	}
	defer c.startWriting()
	head := Head{Fields: fields, EndStream: flags.Has(http2.FlagHeadersEndStream), TooLarge: tooLarge}
	switch s := c.streams[id]; {
	case s != nil && selfDependent:
		return &StreamError{ID: id, Code: CodeProtocol, Detail: "a stream that depends on itself"}
	case s != nil && c.client && !s.headReceived:
		return s.gotReply(head)
	case s != nil:
		return s.gotTrailers(head)
	case c.openedBeforeGoAway(id):
		return nil
	case c.client || id%2 == 0 || id <= c.lastPeer:
		return c.lateHeaders(id)
	}
	c.lastPeer = id
	return c.gotRequest(id, head, selfDependent)
}

// lateHeaders handles HEADERS for a stream that does not exist or has ended.
func (c *Conn) lateHeaders(id uint32) error {
	ended, reset := c.hasEnded(id)
	switch {
	case reset:
		return c.chargeFrame() // they were on their way
	case ended:
		return violation(CodeStreamClosed, "HEADERS on stream %d, which has ended", id)
	case c.client && !c.isIdle(id):
		return c.chargeFrame() // it ended too long ago to know how
	}
	return violation(CodeProtocol, "HEADERS on stream %d, whose number is not the next", id) // section 5.1.1
}

// readBlock decodes a field block. It decodes all of it, even if the fields are dropped,
// because the decoder's table has to match that of the peer (RFC 9113, section 4.3).
func (c *Conn) readBlock(f *http2.HeadersFrame) (fields []Field, tooLarge bool, err error) {
	size, encoded := 0, 0
	c.dec.SetEmitEnabled(true)
	c.dec.SetEmitFunc(func(f Field) {
		if size += int(f.Size()); size > c.cfg.MaxHead || len(fields) == maxFields {
			tooLarge = true
			c.dec.SetEmitEnabled(false)
			return
		}
		fields = append(fields, f)
	})
	piece, ended := f.HeaderBlockFragment(), f.HeadersEnded()
	if !ended && c.cfg.SettingsTimeout > 0 {
		c.readDeadline(time.Now().Add(c.cfg.SettingsTimeout))
		defer c.readDeadline(time.Time{})
	}
	for frames := 0; ; frames++ {
		if encoded += len(piece); encoded > c.cfg.MaxHead || frames > maxContinuations {
			return nil, false, violation(CodeEnhanceYourCalm, "a field block without end")
		}
		if _, err := c.dec.Write(piece); err != nil {
			return nil, false, violation(CodeCompression, "%v", err)
		}
		if ended {
			break
		}
		head, err := c.framer.ReadFrameHeader()
		if err != nil {
			return nil, false, c.frameError(err)
		}
		next, err := c.readPayload(head)
		if err != nil {
			return nil, false, err
		}
		more := next.(*http2.ContinuationFrame) // the Framer has checked this
		piece, ended = more.HeaderBlockFragment(), more.HeadersEnded()
	}
	if err := c.dec.Close(); err != nil {
		return nil, false, violation(CodeCompression, "%v", err)
	}
	return slices.Clip(fields), tooLarge, nil
}

// readDeadline sets or removes the deadline of a field block, unless the connection ends,
// which has a deadline of its own.
func (c *Conn) readDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead && c.writeErr == nil {
		_ = c.conn.SetReadDeadline(t)
	}
}

// gotRequest opens a stream of the client and calls the handler. The caller holds c.mu.
func (c *Conn) gotRequest(id uint32, head Head, selfDependent bool) error {
	length := int64(-1)
	if !head.TooLarge {
		err := checkRequest(head.Fields, c.cfg.EnableConnectProtocol)
		if err == nil {
			length, err = contentLength(head.Fields)
		}
		if err == nil && head.EndStream && length > 0 && head.Get(":method") != "CONNECT" {
			err = errShortContent
		}
		if err != nil {
			return &StreamError{ID: id, Code: CodeProtocol, Detail: "malformed request: " + err.Error()}
		}
	}
	if selfDependent { // RFC 7540, section 5.3.1
		return &StreamError{ID: id, Code: CodeProtocol, Detail: "a stream that depends on itself"}
	}
	if len(c.streams) >= c.allowed || c.active >= c.cfg.mostActive() {
		return &StreamError{ID: id, Code: CodeRefusedStream, Detail: "more streams than announced"}
	}
	if len(c.out) > maxQueued { // otherwise the answers would pile up
		return &StreamError{ID: id, Code: CodeRefusedStream, Detail: "the answers before this one wait unread"}
	}
	s := c.newStream(id)
	s.users = 2 // the handler until it returns, and the owner
	s.headReceived = true
	if s.connect = head.Get(":method") == "CONNECT"; !s.connect {
		s.length = length
	}
	if head.EndStream {
		s.recvEnd()
	}
	c.handlers.Add(1)
	go c.run(s, head)
	return nil
}

// run is the goroutine of a handler.
func (c *Conn) run(s *Stream, head Head) {
	defer c.handlers.Done()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.release(s)
	}()
	defer panics.Recover("a stream's handler", func() {
		s.Reset(CodeInternal)
		s.Close()
	})
	c.handle(s, head)
}

// gotReply handles an interim or the final head of a reply. The caller holds c.mu.
func (s *Stream) gotReply(head Head) error {
	malformed := func(detail string) error {
		return &StreamError{ID: s.id, Code: CodeProtocol, Detail: "malformed reply: " + detail}
	}
	if head.TooLarge {
		return &StreamError{ID: s.id, Code: CodeCancel, Detail: "the reply's head is too large"}
	}
	code, err := checkReply(head.Fields)
	if err != nil {
		return malformed(err.Error())
	}
	if code < 200 {
		if head.EndStream { // RFC 9113, section 8.1
			return malformed("an interim head that ends the stream")
		}
		if len(s.heads) >= maxInterim {
			return &StreamError{ID: s.id, Code: CodeEnhanceYourCalm, Detail: "interim heads without end"}
		}
	} else if err := s.finalReply(head, code); err != nil {
		return malformed(err.Error())
	}
	s.heads = append(s.heads, head)
	if head.EndStream {
		s.recvEnd()
	}
	s.readable.Broadcast()
	return nil
}

// finalReply handles the final head of a reply. The caller holds c.mu.
func (s *Stream) finalReply(head Head, code int) error {
	s.headReceived = true
	s.connect = s.connect && code < 300 // a refusal is a reply like any other
	switch {
	case s.connect || s.noContent:
		return nil
	case code == 204 || code == 304: // content-length is ignored (RFC 9112, section 6.3)
		s.length = 0
		return nil
	}
	length, err := contentLength(head.Fields)
	if err == nil && head.EndStream && length > 0 {
		err = errShortContent
	}
	s.length = length
	return err
}

// gotTrailers handles trailers (RFC 9113, section 8.1). A tunnel has none (section 8.5).
// The caller holds c.mu.
func (s *Stream) gotTrailers(head Head) error {
	malformed := func(detail string) error {
		return &StreamError{ID: s.id, Code: CodeProtocol, Detail: detail}
	}
	switch {
	case s.recvEnded:
		return &StreamError{ID: s.id, Code: CodeStreamClosed, Detail: "HEADERS after END_STREAM"}
	case s.connect:
		return malformed("HEADERS in a tunnel")
	case !head.EndStream:
		return malformed("trailers without END_STREAM")
	case head.TooLarge:
		return malformed("trailers that are too large")
	case s.length > 0:
		return malformed(errShortContent.Error())
	}
	if err := checkTrailers(head.Fields); err != nil {
		return malformed("malformed trailers: " + err.Error())
	}
	s.trailer = head.Fields
	s.recvEnd()
	return nil
}
