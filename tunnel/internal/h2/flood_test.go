package h2

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// Each of these costs the peer little and this side more. All end with a GOAWAY of
// ENHANCE_YOUR_CALM, within the number given.
func TestFloodsEndTheConnection(t *testing.T) {
	tests := []struct {
		name   string
		within int
		send   func(p *peer, i uint32) error
	}{
		{"PING", 3000, func(p *peer, _ uint32) error { return p.WritePing(false, [8]byte{}) }},
		{"PING answers", 3000, func(p *peer, _ uint32) error { return p.WritePing(true, [8]byte{}) }},
		{"SETTINGS", 3000, func(p *peer, _ uint32) error { return p.WriteSettings() }},
		{"SETTINGS answers", 3000, func(p *peer, _ uint32) error { return p.WriteSettingsAck() }},
		{"empty DATA", 3000, func(p *peer, _ uint32) error { return p.WriteData(1, false, nil) }},
		{"DATA of padding", 3000, func(p *peer, _ uint32) error { return p.WriteDataPadded(1, false, nil, make([]byte, 9)) }},
		{"PRIORITY", 3000, func(p *peer, i uint32) error { return p.WritePriority(i+1, http2.PriorityParam{}) }},
		{"WINDOW_UPDATE", 3000, func(p *peer, _ uint32) error { return p.WriteWindowUpdate(1, 1) }},
		{"unknown frames", 3000, func(p *peer, _ uint32) error { return p.WriteRawFrame(0xee, 0, 0, nil) }},
		{"RST_STREAM on ended streams", 3000, func(p *peer, i uint32) error { return p.WriteRSTStream(1, CodeCancel) }},
		{"streams reset at once", 800, func(p *peer, i uint32) error {
			p.head(2*i+3, false, connect...)
			return p.WriteRSTStream(2*i+3, CodeCancel)
		}},
		{"malformed requests", 800, func(p *peer, i uint32) error {
			p.head(2*i+3, true, ":method", "GET")
			return nil
		}},
		{"streams that we are made to reset", 800, func(p *peer, i uint32) error {
			p.head(2*i+3, false, connect...)
			return p.WriteWindowUpdate(2*i+3, 0)
		}},
		{"DATA on ended streams", 800, func(p *peer, i uint32) error { // the first one resets the stream
			_ = p.WriteRSTStream(1, CodeCancel)
			return p.WriteData(1, false, []byte("x"))
		}},
		{"CONTINUATION", 40, func(p *peer, i uint32) error {
			if i == 0 {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3})
			}
			return p.WriteContinuation(3, false, nil)
		}},
		{"a field block without end", 10, func(p *peer, i uint32) error {
			b := p.encode("a", strings.Repeat("?", 10000))
			if i == 0 {
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: b})
			}
			return p.WriteContinuation(3, false, b)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := against(t, Config{}, func(s *Stream, _ Head) {
					<-s.Done()
					s.Close()
				})
				p.head(1, false, connect...)
				i := uint32(0)
				for ; int(i) < test.within; i++ {
					if err := test.send(p, i); err != nil {
						break
					}
				}
				synctest.Wait()
				if code := p.goAway(); code != CodeEnhanceYourCalm {
					t.Fatalf("after %d the connection ended with %v: %v", i, code, c.Err())
				}
			})
		})
	}
}

// A peer whose frames do useful work may send any number of small ones.
func TestWorkIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		_, p := against(t, Config{}, handle)
		s := p.tunnel(1, streams)
		defer s.Close()
		go io.Copy(s, s)
		for range 10000 {
			if err := p.WriteData(1, false, []byte("x")); err != nil {
				t.Fatal(err)
			}
			p.next(http2.FrameData)
			_ = p.WriteWindowUpdate(1, 1)
			if err := p.WriteWindowUpdate(0, 1); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 { // time fills the budget again
			time.Sleep(time.Minute)
			for range 1900 {
				if err := p.WritePing(true, [8]byte{1}); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestHandlersAreBoundedWhateverThePeerResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		leave := make(chan struct{})
		cfg := Config{MaxStreams: 10}
		c, p := against(t, cfg, func(s *Stream, _ Head) {
			n := running.Add(1)
			most.Store(max(n, most.Load()))
			<-leave // it does not notice the reset
			s.Close()
			running.Add(-1)
		})
		for i := range uint32(100) {
			p.head(2*i+1, false, connect...)
			_ = p.WriteRSTStream(2*i+1, CodeCancel)
		}
		synctest.Wait()
		if n := int(running.Load()); n != 26 {
			t.Errorf("%d handlers run", n)
		}
		refused := 0
		for _, f := range p.all() {
			if f.Type == http2.FrameRSTStream && f.Code == CodeRefusedStream {
				refused++
			}
		}
		if refused != 74 {
			t.Errorf("%d streams were refused", refused)
		}
		close(leave)
		synctest.Wait()
		p.head(999, false, connect...)
		synctest.Wait()
		if c.active != 0 || running.Load() != 0 {
			t.Errorf("%d streams, %d handlers are left", c.active, running.Load())
		}
	})
}

func TestStreamsBeyondTheLimitAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := handed()
		var rejected []ErrCode
		_, p := against(t, Config{MaxStreams: 2, Rejected: func(e *StreamError) { rejected = append(rejected, e.Code) }}, handle)
		for _, id := range []uint32{1, 3, 5} {
			p.head(id, false, connect...)
		}
		if f := p.next(http2.FrameRSTStream); f.Stream != 5 || f.Code != CodeRefusedStream || len(rejected) != 1 {
			t.Fatalf("got %+v, told of %v", f.Frame, rejected)
		}
		(<-streams).Reset(CodeCancel)
		p.next(http2.FrameRSTStream)
		p.head(7, false, connect...)
		synctest.Wait()
		if got := summary(p.all()); got != "" || len(streams) != 2 {
			t.Fatalf("got %s for a stream that has room", got)
		}
	})
}

func TestHeadsBeyondTheLimit(t *testing.T) {
	big := strings.Repeat("v", 900)
	t.Run("of a request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			heads := make(chan Head, 3)
			_, p := against(t, Config{MaxHead: 2000}, func(s *Stream, h Head) {
				_ = s.Respond(fields(":status", "431"), true)
				s.Close()
				heads <- h
			})
			p.head(1, true, with(get1, "a", big, "b", big)...) // 2000 encoded are not reached
			if h := <-heads; !h.TooLarge || h.Get("b") != "" || h.Get(":method") != "GET" {
				t.Fatalf("got %+v", h)
			}
			p.head(3, true, with(get1, "a", big)...) // the table still matches that of the peer
			if h := <-heads; h.TooLarge || h.Get("a") != big {
				t.Fatalf("got %+v", h)
			}
		})
	})
	t.Run("a bomb of table references", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			heads := make(chan Head, 3)
			_, p := against(t, Config{MaxHead: 1 << 16}, func(s *Stream, h Head) { s.Close(); heads <- h })
			p.head(1, true, with(get1, "a", strings.Repeat("v", 3900))...)
			<-heads
			b := append([]byte{}, p.encode(get1...)...)
			for range 15000 {
				b = append(b, 0x80|62) // 3,933 bytes each, 59 MB in all
			}
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: b, EndHeaders: true, EndStream: true})
			if h := <-heads; !h.TooLarge || len(h.Fields) > 21 {
				t.Fatalf("%d fields, too large: %v", len(h.Fields), h.TooLarge)
			}
		})
	})
	t.Run("a string without end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := against(t, Config{MaxHead: 2000}, func(s *Stream, h Head) { s.Close() })
			p.head(1, true, with(get1, "a", strings.Repeat("~", 5000))...)
			<-c.Done()
			if got := codeOf(c.Err()); got != "conn ENHANCE_YOUR_CALM false" {
				t.Fatal(got)
			}
		})
	})
	t.Run("of a reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := clientOf(t, Config{MaxHead: 1000})
			s := open(t, c, p, get1...)
			defer s.Close()
			p.head(1, true, with(ok200, "a", big, "b", "c")...)
			if _, err := s.ReadHead(t.Context()); codeOf(err) != "stream CANCEL false" {
				t.Fatal(err)
			}
		})
	})
	t.Run("interim without end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := clientOf(t, Config{})
			s := open(t, c, p, get1...)
			defer s.Close()
			for range maxInterim + 1 {
				p.head(1, false, ":status", "103")
			}
			if f := p.next(http2.FrameRSTStream); f.Code != CodeEnhanceYourCalm {
				t.Fatalf("got %+v", f.Frame)
			}
		})
	})
	t.Run("more than the peer accepts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, _ := clientOf(t, Config{}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
			_, _ = c.PeerSettings(t.Context())
			if _, err := c.Open(t.Context(), fields(with(get1, "a", big)...), true); err == nil || c.openStreams() != 0 {
				t.Fatalf("%v, %d streams", err, c.openStreams())
			}
		})
	})
}

// A peer that causes answers and does not read them must not make them pile up.
func TestUnreadAnswersAreBounded(t *testing.T) {
	tests := []struct {
		name string
		most int // bytes queued
		send func(p *peer, i uint32) error
	}{
		{"PING", 20 << 10, func(p *peer, _ uint32) error { return p.WritePing(false, [8]byte{}) }},
		{"requests", maxQueued + 64<<10, func(p *peer, i uint32) error { p.head(2*i+1, true, get1...); return p.WritePing(true, [8]byte{}) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reply := append(fields(ok200...), Field{Name: "a", Value: strings.Repeat("?", 4000), Sensitive: true})
				ours, conn := net.Pipe()
				c := Server(ours, Config{SettingsTimeout: -1}, func(s *Stream, _ Head) {
					_ = s.Respond(reply, true)
					s.Close()
				})
				defer func() { c.Close(); c.Wait() }()
				p := newPeer(t, conn, true)
				_, _ = io.WriteString(conn, Preface)
				_ = p.WriteSettings()
				most := 0
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				for i := uint32(0); i < 5000 && test.send(p, i) == nil; i++ {
					synctest.Wait()
					c.mu.Lock()
					most = max(most, len(c.out))
					c.mu.Unlock()
				}
				if most == 0 || most > test.most {
					t.Fatalf("%d bytes were queued", most)
				}
				<-c.Done()
				if got := codeOf(c.Err()); got != "conn ENHANCE_YOUR_CALM false" {
					t.Fatal(got)
				}
			})
		})
	}
}
