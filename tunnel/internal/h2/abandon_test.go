package h2

import (
	"testing"
	"testing/synctest"
	"time"
)

// A tunnel that a client closes ends by itself if END_STREAM of the server arrives. It is
// reset if more bytes arrive, or after a second.
func TestClosedTunnelIsLeftToEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(p *peer)
		want string
	}{
		{"the server ends", func(p *peer) { _ = p.WriteData(1, true, nil) }, "DATA+END"},
		{"the server sends more", func(p *peer) { _ = p.WriteData(1, false, []byte("more")) }, "DATA+END RST_STREAM(CANCEL)"},
		{"the server's last bytes", func(p *peer) { _ = p.WriteData(1, true, []byte("more")) }, "DATA+END RST_STREAM(CANCEL)"},
		{"the server resets", func(p *peer) { _ = p.WriteRSTStream(1, CodeConnect) }, "DATA+END"},
		{"nothing comes", func(*peer) { time.Sleep(abandonGrace) }, "DATA+END RST_STREAM(CANCEL)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := clientOf(t, Config{})
				s := open(t, c, p, connect...)
				p.head(1, false, ok200...)
				synctest.Wait()
				s.Close()
				synctest.Wait()
				if c.openStreams() != 1 || c.active != 0 {
					t.Errorf("after Close %d streams are open, %d not let go", c.openStreams(), c.active)
				}
				tt.then(p)
				synctest.Wait()
				if got := summary(p.all()); got != tt.want {
					t.Errorf("the peer got %q, want %q", got, tt.want)
				}
				if c.openStreams() != 0 || !c.abandonedDue().IsZero() {
					t.Errorf("%d streams are open", c.openStreams())
				}
			})
		})
	}
}
