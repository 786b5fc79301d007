package h2

import (
	"bytes"
	"errors"
	"io"
	"time"

	"golang.org/x/net/http2"

	"culvert/tunnel/internal/panics"
)

// readLoop is the goroutine that reads from the connection and ends it.
func (c *Conn) readLoop() {
	err := c.readFrames()
	if errors.Is(err, panics.Err) {
		err = violation(CodeInternal, "internal error")
	}
	c.finish(err)
}

// readFrames reads and handles frames until the connection ends, and returns why.
func (c *Conn) readFrames() (err error) {
	defer panics.Into("an HTTP/2 connection", &err)
	err = c.readPreface()
	for first := true; err == nil; first = false {
		err = c.readFrame(first)
		var stream *StreamError
		if errors.As(err, &stream) {
			err = c.reject(stream)
		}
	}
	return err
}

// readPreface reads the preface of the client (RFC 9113, section 3.4).
func (c *Conn) readPreface() error {
	if c.client {
		return c.checkFirstFrame()
	}
	var got []byte
	for len(got) < len(Preface) {
		piece, err := c.in.next(len(Preface) - len(got))
		if err != nil {
			if len(got) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if got = append(got, piece...); !bytes.HasPrefix([]byte(Preface), got) {
			return &PrefaceError{Got: got}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil // the next read returns the error
	}
	c.sendSettings()
	return nil
}

// checkFirstFrame finds a server that answers the preface in HTTP/1 or in another protocol.
// The first frame, SETTINGS, begins with a zero byte because it is shorter than 64 KiB.
func (c *Conn) checkFirstFrame() error {
	if err := c.in.fill(); err != nil {
		return err
	}
	got := c.in.unread
	if got[0] == 0 {
		return nil
	}
	line, _, _ := bytes.Cut(got[:min(len(got), 100)], []byte("\r\n"))
	return &PrefaceError{Got: bytes.Clone(line)}
}

// readFrame reads and handles one frame. A *StreamError ends its stream, any other error
// the connection.
func (c *Conn) readFrame(first bool) error {
	head, err := c.framer.ReadFrameHeader()
	if err != nil {
		return c.frameError(err)
	}
	if first && (head.Type != http2.FrameSettings || head.Flags.Has(http2.FlagSettingsAck)) {
		return violation(CodeProtocol, "the first frame is not SETTINGS") // RFC 9113, section 3.4
	}
	if c.cfg.PingAfter > 0 {
		c.mu.Lock()
		c.lastRead, c.pinged = time.Now(), time.Time{}
		c.mu.Unlock()
	}
	if err := checkLength(head); err != nil {
		return err
	}
	if head.Type == http2.FrameData {
		return c.readData(head)
	}
	frame, err := c.readPayload(head)
	if err != nil {
		return err
	}
	if h, ok := frame.(*http2.HeadersFrame); ok {
		return c.readHeaders(h)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil // the next read returns the error
	}
	c.observeReceived(frame)
	defer c.startWriting()
	return c.control(frame)
}

// readPayload reads the rest of a frame that is not DATA.
func (c *Conn) readPayload(head http2.FrameHeader) (http2.Frame, error) {
	frame, err := c.framer.ReadFrameForHeader(head)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // within a frame
	}
	if err == nil {
		return frame, nil
	}
	err = c.frameError(err)
	var stream *StreamError
	if head.Type == http2.FrameHeaders && errors.As(err, &stream) {
		// Without this field block none of those that follow can be decoded (RFC 9113,
		// sections 4.3 and 6.2).
		err = violation(stream.Code, "a malformed HEADERS frame")
	}
	return nil, err
}

// checkLength finds frames that are too short for their flags. The Framer cannot tell these
// from a connection that ends within a frame.
func checkLength(head http2.FrameHeader) error {
	least := uint32(0)
	switch head.Type {
	case http2.FrameHeaders:
		if head.Flags.Has(http2.FlagHeadersPadded) {
			least++
		}
		if head.Flags.Has(http2.FlagHeadersPriority) {
			least += 5
		}
	case http2.FrameData:
		if head.Flags.Has(http2.FlagDataPadded) {
			least++
		}
	case http2.FramePushPromise:
		return violation(CodeProtocol, "PUSH_PROMISE is not for us") // RFC 9113, section 8.4
	}
	if head.Length < least {
		return violation(CodeFrameSize, "a %v frame is too short for its flags", head.Type)
	}
	return nil
}

// control handles the frames that carry neither fields nor data. The caller holds c.mu.
func (c *Conn) control(frame http2.Frame) error {
	if f, ok := frame.(*http2.RSTStreamFrame); ok {
		return c.gotReset(f)
	}
	if err := c.chargeFrame(); err != nil {
		return err
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		return c.gotSettings(f)
	case *http2.PingFrame:
		return c.gotPing(f)
	case *http2.WindowUpdateFrame:
		return c.gotWindowUpdate(f)
	case *http2.GoAwayFrame:
		return c.gotGoAway(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID { // RFC 7540, section 5.3.1
			return &StreamError{ID: f.StreamID, Code: CodeProtocol, Detail: "a stream that depends on itself"}
		}
	}
	return nil // RFC 9113, section 4.1: unknown types are ignored
}

// gotPing handles PING (RFC 9113, section 6.7).
func (c *Conn) gotPing(f *http2.PingFrame) error {
	if !f.IsAck() {
		c.writePing(true, f.Data)
		return c.chargeAnswer()
	}
	if c.leaving && f.Data == leavePing {
		c.leave()
	}
	return nil
}

// gotWindowUpdate handles WINDOW_UPDATE (RFC 9113, section 6.9).
func (c *Conn) gotWindowUpdate(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.sendWindow += int(f.Increment); c.sendWindow > maxWindow {
			return violation(CodeFlowControl, "the connection's window passes 2^31-1")
		}
		c.queueData()
		return nil
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return c.onlyIfEnded(f)
	}
	if s.sendWindow += int(f.Increment); s.sendWindow > maxWindow {
		return &StreamError{ID: s.id, Code: CodeFlowControl, Detail: "the window passes 2^31-1"}
	}
	s.enqueue()
	c.queueData()
	return nil
}

// gotReset handles RST_STREAM (RFC 9113, section 6.4).
func (c *Conn) gotReset(f *http2.RSTStreamFrame) error {
	s := c.streams[f.StreamID]
	if s == nil {
		if err := c.chargeFrame(); err != nil {
			return err
		}
		return c.onlyIfEnded(f)
	}
	var err error
	if !s.headSent {
		err = c.chargeStream()
	}
	s.fail(&StreamError{ID: s.id, Code: f.ErrCode, Remote: true})
	c.forget(s, false)
	return err
}

// onlyIfEnded accepts a frame for a stream that has ended, but not for one that was never
// opened (RFC 9113, section 5.1).
func (c *Conn) onlyIfEnded(f http2.Frame) error {
	if id := f.Header().StreamID; c.isIdle(id) && !c.openedBeforeGoAway(id) {
		return violation(CodeProtocol, "%v on stream %d, which is idle", f.Header().Type, f.Header().StreamID)
	}
	return nil
}

// gotGoAway handles GOAWAY. It fails the streams that the server has not processed and will
// not process; their requests may be sent again elsewhere (RFC 9113, section 6.8).
func (c *Conn) gotGoAway(f *http2.GoAwayFrame) error {
	for id, s := range c.streams {
		if c.client && id > f.LastStreamID {
			s.fail(&StreamError{ID: id, Code: CodeRefusedStream, Remote: true})
			c.forget(s, false)
		}
	}
	if f.ErrCode != CodeNo {
		return &ConnError{Code: f.ErrCode, Remote: true, Detail: string(f.DebugData()[:min(200, len(f.DebugData()))])}
	}
	if c.client {
		c.leaving = true
		c.changed.Broadcast()
		c.endIfLeft()
	}
	return nil
}

// reject resets a stream because of what the peer did on it.
func (c *Conn) reject(e *StreamError) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil
	}
	if c.cfg.Rejected != nil {
		c.cfg.Rejected(e)
	}
	if c.isIdle(e.ID) { // there is nothing to reset (RFC 9113, section 6.4)
		return violation(e.Code, "%s on stream %d, which is idle", e.Detail, e.ID)
	}
	if s := c.streams[e.ID]; s != nil {
		s.fail(e)
		c.forget(s, true)
	}
	c.writeReset(e.ID, e.Code)
	if err := c.chargeStream(); err != nil {
		return err
	}
	return c.chargeAnswer()
}

// observeReceived calls Config.Observe for a frame that is neither HEADERS nor DATA.
func (c *Conn) observeReceived(frame http2.Frame) {
	if c.cfg.Observe == nil {
		return
	}
	head := frame.Header()
	observed := Frame{Type: head.Type, Flags: head.Flags, Stream: head.StreamID, Length: int(head.Length)}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		for i := range f.NumSettings() {
			observed.Settings = append(observed.Settings, f.Setting(i))
		}
	case *http2.RSTStreamFrame:
		observed.Code = f.ErrCode
	case *http2.GoAwayFrame:
		observed.Code, observed.LastStream, observed.Debug = f.ErrCode, f.LastStreamID, string(f.DebugData())
	case *http2.WindowUpdateFrame:
		observed.Increment = f.Increment
	}
	c.cfg.Observe(observed)
}
