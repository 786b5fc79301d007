package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attacker2 sends HTTP/2 frames to the Server as no ordinary client does.
type attacker2 struct {
	*http2.Framer
	conn net.Conn
	head []byte // of a CONNECT, encoded
}

func (ts *testServer) attack2(target string) *attacker2 {
	ts.Helper()
	conn := ts.Dial()
	testkit.Send(ts, conn, h2.Preface)
	a := &attacker2{Framer: http2.NewFramer(conn, conn), conn: conn}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.WriteField(hpack.HeaderField{Name: ":method", Value: "CONNECT", Sensitive: true})
	enc.WriteField(hpack.HeaderField{Name: ":authority", Value: target, Sensitive: true})
	a.head = block.Bytes()
	if err := a.WriteSettings(); err != nil {
		ts.Fatal(err)
	}
	return a
}

// goAway reads until the Server ends the connection, and returns how.
func (a *attacker2) goAway() (code http2.ErrCode, debug string) {
	code = ^http2.ErrCode(0)
	for {
		f, err := a.ReadFrame()
		if err != nil {
			return code, debug
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			code, debug = f.ErrCode, string(f.DebugData())
		}
	}
}

// A client that would cost the Server without limit is ended with a GOAWAY that says why
// and a line of the log that says the same. Other clients are not affected.
func TestHTTP2Floods(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flood func(a *attacker2, i uint32) error
		code  http2.ErrCode
	}{
		{"rapid reset", func(a *attacker2, i uint32) error {
			return errors.Join(a.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: a.head, EndHeaders: true}),
				a.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		}, http2.ErrCodeEnhanceYourCalm},
		{"settings", func(a *attacker2, _ uint32) error { return a.WriteSettings() }, http2.ErrCodeEnhanceYourCalm},
		{"pings", func(a *attacker2, _ uint32) error { return a.WritePing(false, [8]byte{1}) }, http2.ErrCodeEnhanceYourCalm},
		{"continuations", func(a *attacker2, i uint32) error {
			if i == 0 {
				return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.head})
			}
			return a.WriteContinuation(1, false, nil)
		}, http2.ErrCodeEnhanceYourCalm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, &Server{})
			target := tunneltest.Start(t, tunneltest.Echo).Addr()
			other := ts.open2(ts.client2(), false, ":method", "CONNECT", ":authority", target)
			ts.head2(other)
			a := ts.attack2(target)
			over := make(chan struct{})
			go func() {
				defer close(over)
				for i := uint32(0); i < 1<<20; i++ {
					if tt.flood(a, i) != nil {
						return
					}
				}
			}()
			code, debug := a.goAway()
			a.conn.Close()
			<-over
			if code != tt.code || debug == "" {
				t.Errorf("given up with %v %q, want %v", code, debug, tt.code)
			}
			for {
				rec := ts.NextRecord(accesslog.EventRequest)
				if strings.Contains(rec.Text("detail"), tt.code.String()) && rec.Text("protocol") == "http/2" {
					break
				}
			}
			testkit.Send(t, other, "still there")
			testkit.Expect(t, other, "still there")
		})
	}
}

// A head that is small on the wire and large in memory is refused, and the connection is
// kept.
func TestHTTP2HeaderBomb(t *testing.T) {
	ts := startServer(t, &Server{Resolver: testkit.NeverResolve(t)})
	a := ts.attack2("example.test:443")
	bomb := append(bytes.Clone(a.head), 0x40, 1, 'a', 0x7f, 0xa1, 0x1e) // adds a field of 4,000 bytes to the table
	bomb = append(bomb, bytes.Repeat([]byte("x"), 4000)...)
	bomb = append(bomb, bytes.Repeat([]byte{0xbe}, 8000)...) // repeats it to 32 MB, at a byte each
	for id := uint32(1); id < 20; id += 2 {
		if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: bomb, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		rec := ts.NextRecord(accesslog.EventRequest)
		rec.WantNumber(t, "status", 431)
		rec.Want(t, "detail", "the request head is too large")
	}
}

// A client that sends nothing, or stops within its first bytes, is disconnected after
// HeaderTimeout; one without tunnels after KeepAliveTimeout.
func TestHTTP2Timeouts(t *testing.T) {
	t.Run("half a preface", func(t *testing.T) {
		ts := startServer(t, &Server{HeaderTimeout: 50 * time.Millisecond, KeepAliveTimeout: time.Hour})
		conn := ts.Dial()
		testkit.Send(t, conn, h2.Preface[:18])
		if got, _ := io.ReadAll(conn); strings.HasPrefix(string(got), "HTTP/1.1 200") {
			t.Errorf("it was answered with %q", got)
		}
	})
	t.Run("no SETTINGS", func(t *testing.T) {
		t.Parallel()
		ts := startServer(t, &Server{HeaderTimeout: time.Second, KeepAliveTimeout: time.Hour})
		conn := ts.Dial()
		testkit.Send(t, conn, h2.Preface)
		silent := &attacker2{Framer: http2.NewFramer(conn, conn), conn: conn}
		if code, _ := silent.goAway(); code != http2.ErrCodeSettingsTimeout {
			t.Errorf("the client was given up with %v", code)
		}
	})
	t.Run("no tunnels", func(t *testing.T) {
		ts := startServer(t, &Server{HeaderTimeout: time.Hour, KeepAliveTimeout: 50 * time.Millisecond})
		idle := ts.attack2("example.test:443")
		if err := idle.WriteSettingsAck(); err != nil {
			t.Fatal(err)
		}
		if code, _ := idle.goAway(); code != http2.ErrCodeNo {
			t.Errorf("the client was given up with %v", code)
		}
	})
}
