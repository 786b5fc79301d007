package probe

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framesOf returns frames as a string.
func framesOf(write func(f *http2.Framer)) string {
	var out bytes.Buffer
	f := http2.NewFramer(&out, nil)
	f.AllowIllegalWrites = true
	write(f)
	return out.String()
}

// block returns a field block of pairs.
func block(pairs ...string) []byte {
	var out bytes.Buffer
	e := hpack.NewEncoder(&out)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return out.Bytes()
}

// head2 returns a HEADERS frame on the first stream.
func head2(end bool, pairs ...string) string {
	return framesOf(func(f *http2.Framer) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(pairs...), EndHeaders: true, EndStream: end})
	})
}

// manyOf repeats frames until they fill a large piece.
func manyOf(write func(f *http2.Framer)) string {
	return framesOf(func(f *http2.Framer) {
		for range 200 {
			write(f)
		}
	})
}

// hostileFrames lists what a proxy over HTTP/2 sends after its SETTINGS, once and
// then forever.
var hostileFrames = []struct {
	name        string
	once, again string
	kinds       []VerdictKind // any of these
}{
	{"endless SETTINGS", "", manyOf(func(f *http2.Framer) { f.WriteSettings() }), []VerdictKind{VerdictMalformed}},
	{"endless PING", "", manyOf(func(f *http2.Framer) { f.WritePing(false, [8]byte{}) }), []VerdictKind{VerdictMalformed, VerdictHungUp}},
	{"endless unknown frames", "", manyOf(func(f *http2.Framer) { f.WriteRawFrame(0x99, 0, 1, []byte(nasty)) }), []VerdictKind{VerdictMalformed, VerdictSilent}},
	{"endless 1xx", "", "", []VerdictKind{VerdictMalformed}},
	{"endless CONTINUATION", framesOf(func(f *http2.Framer) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200")})
	}), manyOf(func(f *http2.Framer) { f.WriteContinuation(1, false, nil) }), []VerdictKind{VerdictMalformed}},
	{"a field of 100 KiB", head2(true, ":status", "403", "via", strings.Repeat("a", 100000)), "", []VerdictKind{VerdictMalformed}},
	{"an HPACK bomb", head2(true, append([]string{":status", "403"}, bomb()...)...), "", []VerdictKind{VerdictMalformed}},
	{"a gigabyte of content", head2(false, ":status", "403", "content-length", "1073741824"), manyOf(func(f *http2.Framer) { f.WriteData(1, false, []byte(nasty)) }), []VerdictKind{VerdictDenied}},
	{"content of empty frames", head2(false, ":status", "403"), manyOf(func(f *http2.Framer) { f.WriteData(1, false, nil) }), []VerdictKind{VerdictDenied}},
	{"a flood in the tunnel", head2(false, ":status", "200"), manyOf(func(f *http2.Framer) { f.WriteData(1, false, []byte(floods[:16000])) }), []VerdictKind{VerdictOpen, VerdictBroken}},
	{"bidi controls in fields", head2(true, ":status", "403", "via", "1.1 "+nasty2, "server", nasty2, "proxy-status", nasty2, "location", nasty2), "", []VerdictKind{VerdictDenied}},
	{"control characters in fields", head2(true, ":status", "403", "via", nasty), "", []VerdictKind{VerdictMalformed, VerdictDenied}},
	{"credentials in fields", head2(true, ":status", "403", "via", hostileSecret), "", []VerdictKind{VerdictDenied}},
	{"credentials in GOAWAY", framesOf(func(f *http2.Framer) { f.WriteGoAway(0, http2.ErrCodeInternal, []byte("no "+hostileSecret+nasty)) }), "", []VerdictKind{VerdictHungUp}},
	{"GOAWAY behind a refusal", framesOf(func(f *http2.Framer) {
		f.WriteGoAway(1, http2.ErrCodeNo, []byte("\u00e9\u4e2d "+hostileSecret+nasty))
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "403"), EndHeaders: true, EndStream: true})
	}), "", []VerdictKind{VerdictDenied}},
	{"large GOAWAY", framesOf(func(f *http2.Framer) { f.WriteGoAway(0, http2.ErrCode(0xdeadbeef), []byte(floods[:16000])) }), "", []VerdictKind{VerdictHungUp}},
	{"a stream nobody opened", framesOf(func(f *http2.Framer) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 7, BlockFragment: block(":status", "200"), EndHeaders: true})
	}), "", []VerdictKind{VerdictMalformed}},
	{"a push", framesOf(func(f *http2.Framer) {
		f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: block(":method", nasty), EndHeaders: true})
	}), "", []VerdictKind{VerdictMalformed}},
	{"a reset of no known code", framesOf(func(f *http2.Framer) { f.WriteRSTStream(1, http2.ErrCode(0xfffffff0)) }), "", []VerdictKind{VerdictHungUp}},
	{"no status", head2(true, "via", "a"), "", []VerdictKind{VerdictMalformed}},
	{"a frame too large", "\xff\xff\xff\x00\x00\x00\x00\x00\x01", floods, []VerdictKind{VerdictMalformed}},
}

// bomb returns fields that take one byte each on the wire.
func bomb() (pairs []string) {
	for range 5000 {
		pairs = append(pairs, "x", strings.Repeat("b", 1000))
	}
	return pairs
}

// TestHostileFrames is TestHostileAnswers for HTTP/2.
func TestHostileFrames(t *testing.T) {
	for _, tt := range hostileFrames {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "endless 1xx" {
				tt.again = strings.Repeat(head2(false, ":status", "103", "link", nasty2), 100)
			}
			proxy := tunneltest.Start(t, func(conn net.Conn) {
				io.WriteString(conn, framesOf(func(f *http2.Framer) { f.WriteSettings(); f.WriteSettingsAck() }))
				awaitHeaders(conn)
				_, err := io.WriteString(conn, tt.once)
				for again := []byte(tt.again); err == nil && len(again) > 0; { // converted once, not for each write
					_, err = conn.Write(again)
				}
				io.Copy(io.Discard, conn)
			})
			p := hostileProber(t, "h2c://ada:"+hostileSecret+"@"+proxy.Addr(), false)
			p.Client.Timeout = 40 * testkit.BriefWait
			r := probeHostile(t, p)
			if !strings.Contains(fmt.Sprint(tt.kinds), string(r.Verdict.Kind)) {
				t.Errorf("%+v, want one of %s", r.Verdict, tt.kinds)
			}
			var out bytes.Buffer
			refused := tt.name == "credentials in fields" || tt.name == "an HPACK bomb"
			if err := r.WriteTranscript(&out, "0"); refused != (err == ErrSecretSentBack) || !refused && err != nil {
				t.Errorf("the transcript: %v", err)
			}
			if refused {
				return
			}
			addr, text := saved(t, r)
			p.Client.Route = testkit.MustRoute(t, "h2c://ada:"+hostileSecret+"@"+addr)
			if v := probeAt(t, p).Verdict; !strings.Contains(fmt.Sprint(tt.kinds), string(v.Kind)) {
				t.Errorf("played back: %+v, from\n%.1000s", v, text)
			}
		})
	}
}

// awaitHeaders reads a client's frames up to its request, and then goes on reading.
func awaitHeaders(conn net.Conn) {
	io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface)))
	f := http2.NewFramer(io.Discard, conn)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			break
		}
	}
	go io.Copy(io.Discard, conn)
}

// A transcript that could not hold all that came says so.
func TestTranscriptCutOff(t *testing.T) {
	on := &tapped{conn: 1, read: maxTapped, pieces: []tappedPiece{{sent: true, bytes: []byte(h2.Preface)}, {bytes: []byte("x")}}}
	r := &Report{Exchanges: []Exchange{{Connection: 1}}, taps: []*tapped{on}}
	for _, cut := range []bool{true, false} {
		var out bytes.Buffer
		if on.cut = cut; r.WriteTranscript(&out, "0") != nil || strings.Contains(out.String(), "cut off") != cut {
			t.Errorf("%s", &out)
		}
	}
}
