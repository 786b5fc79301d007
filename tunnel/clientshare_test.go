package tunnel

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/tunneltest"
)

// A crowd of tunnels goes over as many connections as the proxy's limit asks
// for, and none is refused: also where the limit comes late.
func TestClientKeepsToTheProxysLimit(t *testing.T) {
	const limit, tunnels = 5, 32
	var refused, connects atomic.Int32
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		connects.Add(1)
		cfg := h2.Config{MaxStreams: limit, Rejected: func(*h2.StreamError) { refused.Add(1) }}
		h2.Server(lateConn{conn}, cfg, func(s *h2.Stream, _ h2.Head) {
			_ = s.Respond([]h2.Field{{Name: ":status", Value: "200"}}, false)
			_, _ = s.Read(make([]byte, 1))
			s.Close()
		}).Wait()
	})
	c := newClient(t, mustRoute(t, "h2c://"+proxy.Addr()))
	var all sync.WaitGroup
	for range tunnels {
		all.Go(func() { c.mustOpen(t, "example.test:443") })
	}
	all.Wait()
	if n, least := connects.Load(), int32((tunnels+limit-1)/limit); refused.Load() != 0 || n != least {
		t.Errorf("%d streams were refused, over %d connections; %d tunnels ask for %d", refused.Load(), n, tunnels, least)
	}
}

// lateConn is a connection whose bytes go out a while after they are written.
type lateConn struct{ net.Conn }

func (c lateConn) Write(b []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return c.Conn.Write(b)
}
