package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A peer is the other end of a Conn: a bare Framer, which can break the rules. It reads all
// the time, unless it is told not to.
type peer struct {
	*http2.Framer
	t      *testing.T
	conn   net.Conn
	client bool
	enc    *hpack.Encoder
	block  bytes.Buffer
	frames chan seen // closed at the end of the connection

	mu      sync.Mutex
	initial int            // the first window of a stream
	granted map[uint32]int // by WINDOW_UPDATE, minus what was sent
}

// seen is a frame that a peer has received.
type seen struct {
	Frame
	data []byte
	ping [8]byte
}

func newPeer(t *testing.T, conn net.Conn, client bool) *peer {
	p := &peer{Framer: http2.NewFramer(conn, conn), t: t, conn: conn, client: client, frames: make(chan seen, 1<<16),
		initial: leastWindow, granted: map[uint32]int{}}
	p.Framer.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	t.Cleanup(func() { conn.Close() })
	return p
}

// read reads frames until the end. The frames of a field block become one, decoded.
func (p *peer) read() {
	defer close(p.frames)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return
		}
		h := f.Header()
		s := seen{Frame: Frame{Type: h.Type, Flags: h.Flags, Stream: h.StreamID, Length: int(h.Length)}}
		switch f := f.(type) {
		case *http2.DataFrame:
			s.data = bytes.Clone(f.Data())
		case *http2.MetaHeadersFrame:
			s.Fields = f.Fields
		case *http2.SettingsFrame:
			_ = f.ForeachSetting(func(one http2.Setting) error { s.Settings = append(s.Settings, one); return nil })
		case *http2.RSTStreamFrame:
			s.Code = f.ErrCode
		case *http2.GoAwayFrame:
			s.Code, s.LastStream, s.Debug = f.ErrCode, f.LastStreamID, string(f.DebugData())
		case *http2.WindowUpdateFrame:
			s.Increment = f.Increment
		case *http2.PingFrame:
			s.ping = f.Data
		}
		p.account(s)
		p.frames <- s
	}
}

func (p *peer) account(s seen) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.granted[s.Stream] += int(s.Increment)
	for _, one := range s.Settings {
		if one.ID == http2.SettingInitialWindowSize {
			p.initial = int(one.Val)
		}
	}
}

// window returns how many bytes may be sent on a stream.
func (p *peer) window(id uint32) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(p.initial+p.granted[id], leastWindow+p.granted[0])
}

// send sends bytes as the windows allow, and reports whether they allowed all of them within
// a second.
func (p *peer) send(id uint32, endStream bool, b []byte) bool {
	for begin := time.Now(); ; {
		n := min(len(b), dataFrame, p.window(id))
		if n > 0 || len(b) == 0 {
			p.mu.Lock()
			p.granted[id] -= n
			p.granted[0] -= n
			p.mu.Unlock()
			if p.WriteData(id, endStream && n == len(b), b[:n]) != nil {
				return false
			}
			if b = b[n:]; len(b) == 0 {
				return true
			}
			continue
		}
		if time.Since(begin) > time.Second {
			return false
		}
		time.Sleep(time.Millisecond)
	}
}

// next returns the next frame of type typ. It skips frames that may arrive at any time, and
// fails the test for any other.
func (p *peer) next(typ http2.FrameType) seen {
	p.t.Helper()
	timeout := time.NewTimer(5 * time.Second)
	defer timeout.Stop()
	for {
		select {
		case f, ok := <-p.frames:
			switch {
			case !ok:
				p.t.Fatalf("the connection ended before a frame %v", typ)
			case f.Type == typ && !f.Flags.Has(http2.FlagSettingsAck) || f.Type == typ && typ != http2.FrameSettings && typ != http2.FramePing:
				return f
			case f.Type == http2.FrameSettings, f.Type == http2.FrameWindowUpdate, f.Type == http2.FramePing:
			default:
				p.t.Fatalf("got %+v, want a frame %v", f.Frame, typ)
			}
		case <-timeout.C:
			p.t.Fatalf("no frame %v", typ)
		}
	}
}

// all returns the frames that have arrived already.
func (p *peer) all() (frames []seen) {
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				return frames
			}
			frames = append(frames, f)
		default:
			return frames
		}
	}
}

// rest returns the frames until the end of the connection, which must come.
func (p *peer) rest() (frames []seen) {
	p.t.Helper()
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				return frames
			}
			frames = append(frames, f)
		case <-timeout.C:
			p.t.Fatal("the connection did not end")
		}
	}
}

// settle waits until all goroutines wait. It does nothing where frames are only recorded.
func (p *peer) settle() {
	if p.conn != nil {
		synctest.Wait()
	}
}

// goAway returns the code of the GOAWAY that the connection ends with.
func (p *peer) goAway() (code ErrCode) {
	p.t.Helper()
	code = ErrCode(999)
	for _, f := range p.rest() {
		if f.Type == http2.FrameGoAway {
			code = f.Code
		}
	}
	return code
}

// head writes a head of name, value, name, value.
func (p *peer) head(id uint32, endStream bool, pairs ...string) {
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(pairs...), EndStream: endStream, EndHeaders: true})
}

func (p *peer) encode(pairs ...string) []byte {
	p.block.Reset()
	for _, f := range fields(pairs...) {
		_ = p.enc.WriteField(f)
	}
	return p.block.Bytes()
}

func fields(pairs ...string) (fields []Field) {
	for pair := range slices.Chunk(pairs, 2) {
		fields = append(fields, Field{Name: pair[0], Value: pair[1]})
	}
	return fields
}

var (
	get1    = []string{":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", "/"}
	post    = []string{":method", "POST", ":scheme", "http", ":authority", "a.example", ":path", "/"}
	connect = []string{":method", "CONNECT", ":authority", "a.example:443"}
	ok200   = []string{":status", "200"}
)

func readAll(t *testing.T, s *Stream) string {
	t.Helper()
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// codeOf returns the code of a StreamError and whether the peer has reset the stream.
func codeOf(err error) string {
	var stream *StreamError
	var conn *ConnError
	switch {
	case errors.As(err, &stream):
		return fmt.Sprintf("stream %v %v", stream.Code, stream.Remote)
	case errors.As(err, &conn) && conn.Err != nil:
		return "broken"
	case errors.As(err, &conn):
		return fmt.Sprintf("conn %v %v", conn.Code, conn.Remote)
	}
	return fmt.Sprint(err)
}

// summary returns a short form of frames: their types and codes.
func summary(frames []seen) string {
	var words []string
	for _, f := range frames {
		switch f.Type {
		case http2.FrameSettings, http2.FrameWindowUpdate, http2.FramePing:
		case http2.FrameRSTStream, http2.FrameGoAway:
			words = append(words, fmt.Sprintf("%v(%v)", f.Type, f.Code))
		default:
			word := f.Type.String()
			if len(f.data) > 0 {
				word += fmt.Sprintf("(%d)", len(f.data))
			}
			if f.Flags.Has(http2.FlagDataEndStream) {
				word += "+END"
			}
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// countedConn counts the writes on it.
type countedConn struct {
	net.Conn
	mu     sync.Mutex
	writes int
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(b)
}
