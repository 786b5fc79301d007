package h2

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// with returns pairs followed by more.
func with(pairs []string, more ...string) []string {
	return append(append([]string{}, pairs...), more...)
}

// badFrames are violations of the protocol, each with the answer of the server. Stream 1 is
// a tunnel that is open both ways.
var badFrames = []struct {
	name string
	send func(p *peer)
	want string
}{
	{"DATA on stream 0", func(p *peer) { _ = p.WriteRawFrame(http2.FrameData, 0, 0, nil) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"DATA on an idle stream", func(p *peer) { _ = p.WriteData(3, false, []byte("x")) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"DATA on an even stream", func(p *peer) { _ = p.WriteData(2, false, []byte("x")) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"DATA after END_STREAM", func(p *peer) {
		_ = p.WriteData(1, true, nil)
		_ = p.WriteData(1, false, []byte("x"))
	}, "RST_STREAM(STREAM_CLOSED)"},
	{"DATA with more padding than frame", func(p *peer) {
		_ = p.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{5, 'x'})
	}, "GOAWAY(PROTOCOL_ERROR)"},
	{"padded DATA without a length", func(p *peer) {
		_ = p.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, nil)
	}, "GOAWAY(FRAME_SIZE_ERROR)"},
	{"DATA larger than announced", func(p *peer) { _ = p.WriteData(1, false, make([]byte, dataFrame+1)) }, "GOAWAY(FRAME_SIZE_ERROR)"},
	{"DATA beyond the stream's window", func(p *peer) {
		for range 5 {
			_ = p.WriteData(1, false, make([]byte, dataFrame))
		}
	}, "RST_STREAM(FLOW_CONTROL_ERROR)"},
	{"HEADERS on stream 0", func(p *peer) { p.head(0, true, get1...) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"HEADERS on an even stream", func(p *peer) { p.head(4, true, get1...) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"HEADERS out of order", func(p *peer) {
		p.head(5, false, connect...)
		p.settle()
		p.head(3, false, connect...)
	}, "HEADERS GOAWAY(PROTOCOL_ERROR)"},
	{"HEADERS on a stream that ended", func(p *peer) {
		_ = p.WriteRSTStream(1, CodeCancel)
		p.head(1, true, get1...)
	}, "GOAWAY(STREAM_CLOSED)"},
	{"HEADERS after END_STREAM", func(p *peer) {
		_ = p.WriteData(1, true, nil)
		p.head(1, true, "a", "b")
	}, "RST_STREAM(STREAM_CLOSED)"},
	{"HEADERS in a tunnel", func(p *peer) { p.head(1, true, "a", "b") }, "RST_STREAM(PROTOCOL_ERROR)"},
	{"HEADERS with more padding than frame", func(p *peer) {
		_ = p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 3, []byte{9, 0x82})
	}, "GOAWAY(PROTOCOL_ERROR)"},
	{"HEADERS with more padding than frame, on an open stream", func(p *peer) {
		_ = p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 1, []byte{9, 0x82})
	}, "GOAWAY(PROTOCOL_ERROR)"},
	{"HEADERS too short for their flags", func(p *peer) {
		_ = p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPriority|http2.FlagHeadersEndHeaders, 3, []byte{0, 0, 0, 1})
	}, "GOAWAY(FRAME_SIZE_ERROR)"},
	{"a field block that is no HPACK", func(p *peer) {
		_ = p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, []byte{0xff, 0xff, 0xff, 0xff})
	}, "GOAWAY(COMPRESSION_ERROR)"},
	{"another frame within a field block", func(p *peer) {
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.encode(connect...)})
		_ = p.WritePing(false, [8]byte{})
	}, "GOAWAY(PROTOCOL_ERROR)"},
	{"DATA within a field block", func(p *peer) {
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.encode(connect...)})
		_ = p.WriteData(1, false, []byte("x"))
	}, "GOAWAY(PROTOCOL_ERROR)"},
	{"CONTINUATION of another stream", func(p *peer) {
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.encode(connect...)})
		_ = p.WriteContinuation(5, true, nil)
	}, "GOAWAY(PROTOCOL_ERROR)"},
	{"CONTINUATION of nothing", func(p *peer) { _ = p.WriteContinuation(1, true, nil) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"PRIORITY of the wrong size", func(p *peer) { _ = p.WriteRawFrame(http2.FramePriority, 0, 1, []byte{0}) }, "GOAWAY(FRAME_SIZE_ERROR)"},
	{"RST_STREAM on an idle stream", func(p *peer) { _ = p.WriteRSTStream(3, CodeCancel) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"RST_STREAM on stream 0", func(p *peer) { _ = p.WriteRSTStream(0, CodeCancel) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"RST_STREAM of the wrong size", func(p *peer) { _ = p.WriteRawFrame(http2.FrameRSTStream, 0, 1, []byte{0}) }, "GOAWAY(FRAME_SIZE_ERROR)"},
	{"SETTINGS on a stream", func(p *peer) { _ = p.WriteRawFrame(http2.FrameSettings, 0, 1, nil) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"SETTINGS of a size that is none", func(p *peer) { _ = p.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 7)) }, "GOAWAY(FRAME_SIZE_ERROR)"},
	{"SETTINGS acknowledged with content", func(p *peer) {
		_ = p.WriteRawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, make([]byte, 6))
	}, "GOAWAY(FRAME_SIZE_ERROR)"},
	{"SETTINGS that push with 2", func(p *peer) { _ = p.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"SETTINGS with a window too large", func(p *peer) {
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
	}, "GOAWAY(FLOW_CONTROL_ERROR)"},
	{"SETTINGS with frames too small", func(p *peer) {
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16383})
	}, "GOAWAY(PROTOCOL_ERROR)"},
	{"PUSH_PROMISE", func(p *peer) { _ = p.WriteRawFrame(http2.FramePushPromise, 4, 1, make([]byte, 8)) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"PING on a stream", func(p *peer) { _ = p.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"PING of the wrong size", func(p *peer) { _ = p.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }, "GOAWAY(FRAME_SIZE_ERROR)"},
	{"GOAWAY on a stream", func(p *peer) { _ = p.WriteRawFrame(http2.FrameGoAway, 0, 1, make([]byte, 8)) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"WINDOW_UPDATE of nothing on the connection", func(p *peer) { _ = p.WriteWindowUpdate(0, 0) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"WINDOW_UPDATE of nothing on a stream", func(p *peer) { _ = p.WriteWindowUpdate(1, 0) }, "RST_STREAM(PROTOCOL_ERROR)"},
	{"WINDOW_UPDATE of nothing on an idle stream", func(p *peer) { _ = p.WriteWindowUpdate(3, 0) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"WINDOW_UPDATE on an idle stream", func(p *peer) { _ = p.WriteWindowUpdate(3, 1) }, "GOAWAY(PROTOCOL_ERROR)"},
	{"WINDOW_UPDATE beyond the greatest, connection", func(p *peer) { _ = p.WriteWindowUpdate(0, 1<<31-1) }, "GOAWAY(FLOW_CONTROL_ERROR)"},
	{"WINDOW_UPDATE beyond the greatest, stream", func(p *peer) { _ = p.WriteWindowUpdate(1, 1<<31-1) }, "RST_STREAM(FLOW_CONTROL_ERROR)"},
	{"a malformed request", func(p *peer) { p.head(3, true, with(get1, "Upper", "x")...) }, "RST_STREAM(PROTOCOL_ERROR)"},
	{"a stream that depends on itself", func(p *peer) {
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.encode(connect...), EndHeaders: true,
			Priority: http2.PriorityParam{StreamDep: 3}})
	}, "RST_STREAM(PROTOCOL_ERROR)"},
}

func TestBadFramesEndTheStreamOrTheConnection(t *testing.T) {
	for _, test := range badFrames {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				streams, handle := answered(t)
				c, p := against(t, Config{}, handle)
				s := p.tunnel(1, streams)
				test.send(p)
				synctest.Wait()
				if got := summary(p.all()); got != test.want {
					t.Fatalf("the peer got %q, want %q", got, test.want)
				}
				if strings.Contains(test.want, "GOAWAY") {
					if <-c.Done(); c.Err() == nil {
						t.Fatal("the connection has ended without a reason")
					}
					return
				}
				// Only this stream has ended: another one works.
				other := p.tunnel(99, streams)
				_ = p.WriteData(99, true, []byte("fine"))
				if got := readAll(t, other); got != "fine" {
					t.Fatalf("read %q on another stream", got)
				}
				other.Close()
				s.Close()
			})
		})
	}
}

// Content after the end, or beyond content-length, must not reach the reader, and a body
// that is cut short must not look complete.
func TestBadDataNeverReachesTheReader(t *testing.T) {
	tests := []struct {
		name string
		head []string
		send func(*peer)
		read string
		want string
	}{
		{"after END_STREAM", post, func(p *peer) {
			_ = p.WriteData(1, true, []byte("good"))
			_ = p.WriteData(1, true, []byte("smuggled"))
		}, "good", "<nil>"},
		{"more than content-length", with(post, "content-length", "4"), func(p *peer) {
			_ = p.WriteData(1, false, []byte("good"))
			_ = p.WriteData(1, true, []byte("smuggled"))
		}, "good", "stream PROTOCOL_ERROR false"},
		{"less than content-length", with(post, "content-length", "9"), func(p *peer) {
			_ = p.WriteData(1, false, []byte("good"))
			_ = p.WriteData(1, true, []byte("bad"))
		}, "good", "stream PROTOCOL_ERROR false"},
		{"less than content-length, then trailers", with(post, "content-length", "9"), func(p *peer) {
			_ = p.WriteData(1, false, []byte("good"))
			p.head(1, true, "a", "b")
		}, "good", "stream PROTOCOL_ERROR false"},
		{"trailers without END_STREAM", post, func(p *peer) {
			_ = p.WriteData(1, false, []byte("good"))
			p.head(1, false, "a", "b")
		}, "good", "stream PROTOCOL_ERROR false"},
		{"trailers with a pseudo-header field", post, func(p *peer) {
			_ = p.WriteData(1, false, []byte("good"))
			p.head(1, true, ":path", "/")
		}, "good", "stream PROTOCOL_ERROR false"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				streams, handle := handed()
				_, p := against(t, Config{}, handle)
				p.head(1, false, test.head...)
				s := <-streams
				defer s.Close()
				test.send(p)
				synctest.Wait()
				b, err := io.ReadAll(s)
				if string(b) != test.read || codeOf(err) != test.want {
					t.Fatalf("read %q and %q", b, codeOf(err))
				}
			})
		})
	}
}

func TestLateFramesOnStreamsThatWeResetAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{})
		var all []*Stream
		for range 90 {
			all = append(all, open(t, c, p, get1...))
		}
		for _, s := range all {
			s.Reset(CodeCancel)
		}
		for _, s := range all { // the answers were on their way
			p.head(s.ID(), false, ok200...)
			_ = p.WriteData(s.ID(), true, []byte("late"))
			_ = p.WriteWindowUpdate(s.ID(), 1)
			_ = p.WriteRSTStream(s.ID(), CodeNo)
		}
		synctest.Wait()
		if got := summary(p.all()); got != strings.TrimSpace(strings.Repeat("RST_STREAM(CANCEL) ", 90)) {
			t.Fatalf("the peer got %s", got)
		}
	})
}

func TestUnknownFramesAndSettingsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		_, p := against(t, Config{}, handle)
		_ = p.WriteRawFrame(0xfa, 0xff, 0, []byte("what"))
		_ = p.WriteRawFrame(0x20, 0, 77, nil)
		_ = p.WriteSettings(http2.Setting{ID: 0xabcd, Val: 7})
		_ = p.WritePriority(77, http2.PriorityParam{StreamDep: 1})
		s := p.tunnel(1, streams)
		_ = p.WriteRawFrame(0xfa, 0, 1, bytes.Repeat([]byte("x"), dataFrame))
		_ = p.WriteData(1, true, []byte("fine"))
		if got := readAll(t, s); got != "fine" {
			t.Fatal(got)
		}
		s.Close()
	})
}

func TestWhoDoesNotSpeakHTTP2IsKnown(t *testing.T) {
	tests := []struct{ sent, got string }{
		{"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET / HTTP/1.1\r\nHost: a."},
		{"CONNECT a.example:443 HTTP/1.1\r\n\r\n", "CONNECT a.example:443 HT"},
		{"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"},
		{"\x16\x03\x01\x02\x00\x01", "\x16\x03\x01\x02\x00\x01"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%.8q", test.sent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := serverOf(t, Config{})
				go io.Copy(io.Discard, p)
				_, _ = io.WriteString(p, test.sent)
				<-c.Done()
				if e, ok := c.Err().(*PrefaceError); !ok || !strings.HasPrefix(test.got, string(e.Got)) || len(e.Got) == 0 {
					t.Fatalf("it ended with %v", c.Err())
				}
			})
		})
	}
	t.Run("a server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := clientOfNothing(t, Config{})
			_, _ = io.WriteString(p, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			<-c.Done()
			if e, ok := c.Err().(*PrefaceError); !ok || string(e.Got) != "HTTP/1.1 400 Bad Request" {
				t.Fatalf("it ended with %v", c.Err())
			}
		})
	})
}

func TestTheFirstFrameMustBeSettings(t *testing.T) {
	for name, send := range map[string]func(*peer){
		"PING":            func(p *peer) { _ = p.WritePing(false, [8]byte{}) },
		"acknowledgement": func(p *peer) { _ = p.WriteSettingsAck() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, conn := serverOf(t, Config{SettingsTimeout: time.Hour})
				p := newPeer(t, conn, true)
				go p.read()
				_, _ = io.WriteString(conn, Preface)
				send(p)
				if code := p.goAway(); code != CodeProtocol {
					t.Fatalf("the connection ended with %v", code)
				}
			})
		})
	}
}
