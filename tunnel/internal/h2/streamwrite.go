package h2

import (
	"errors"
	"net"
	"os"
)

// Write sends content. It returns when all of b is queued on the connection, whose queue
// holds Config.WriteBuffer bytes, or with an error.
func (s *Stream) Write(b []byte) (int, error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for s.writing {
		if err := s.cannotWrite(); err != nil {
			return 0, err
		}
		s.writable.Wait()
	}
	if err := s.cannotWrite(); err != nil {
		return 0, err
	}
	s.writing, s.pending = true, b
	s.enqueue()
	c.queueData()
	var err error
	left := len(s.pending)
	for ; left > 0; left = len(s.pending) {
		if err = s.cannotWrite(); err != nil {
			break
		}
		s.writable.Wait()
	}
	s.writing, s.pending = false, nil
	s.dequeue()
	s.writable.Broadcast()
	return len(b) - left, err
}

// cannotWrite returns an error if nothing can be written. The caller holds c.mu.
func (s *Stream) cannotWrite() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.err != nil:
		return s.err
	case s.sendEnded:
		return errWriteEnded
	case !s.headSent:
		return errors.New("content before the reply's head")
	case s.writeDeadline.passed():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Respond sends the final head of the reply. It is for servers, and works once.
func (s *Stream) Respond(fields []Field, endStream bool) error {
	code, err := checkReply(fields)
	if err == nil && code < 200 {
		err = errors.New("an interim status in a final head")
	}
	if err != nil {
		return err
	}
	return s.sendHead(fields, endStream)
}

// Interim sends a head with a 1xx status. It is for servers, before Respond.
func (s *Stream) Interim(fields []Field) error {
	code, err := checkReply(fields)
	if err == nil && code >= 200 {
		err = errors.New("a final status in an interim head")
	}
	if err != nil {
		return err
	}
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if err := s.cannotAnswer(fields); err != nil {
		return err
	}
	s.conn.writeHead(s.id, fields, false)
	return nil
}

// sendHead sends the final head of the reply.
func (s *Stream) sendHead(fields []Field, endStream bool) error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if err := s.cannotAnswer(fields); err != nil {
		return err
	}
	s.headSent = true
	s.conn.writeHead(s.id, fields, endStream)
	if endStream {
		s.sendEnd()
	}
	return nil
}

// cannotAnswer returns an error if a head of a reply cannot be sent. The caller holds c.mu.
func (s *Stream) cannotAnswer(fields []Field) error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.err != nil:
		return s.err
	case s.headSent:
		return errors.New("the reply's head is sent already")
	}
	return s.conn.fits(fields)
}

// SendTrailers sends trailer fields and END_STREAM.
func (s *Stream) SendTrailers(fields []Field) error {
	if err := checkTrailers(fields); err != nil {
		return err
	}
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if err := s.cannotWrite(); err != nil {
		return err
	}
	if s.writing {
		return errors.New("trailers while content is being written")
	}
	s.conn.writeHead(s.id, fields, true)
	s.sendEnd()
	return nil
}

// CloseWrite sends END_STREAM after the bytes that were written. A Write that waits fails.
// The stream can still be read from.
func (s *Stream) CloseWrite() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.sendEnded && !s.closed && s.err == nil {
		return nil
	}
	if err := s.cannotWrite(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	s.endWrite()
	return nil
}

// endWrite queues END_STREAM. The caller holds c.mu.
func (s *Stream) endWrite() {
	s.conn.writeData(s.id, nil, true)
	s.sendEnd()
}

// sendEnd records that END_STREAM is queued. The caller holds c.mu.
func (s *Stream) sendEnd() {
	s.sendEnded = true
	s.writable.Broadcast()
	s.endIfBoth()
}

// maySend reports whether the stream has pending bytes that may still be sent.
// The caller holds c.mu.
func (s *Stream) maySend() bool {
	return len(s.pending) > 0 && !s.closed && !s.sendEnded && s.err == nil
}
