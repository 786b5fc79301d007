package proxy

import (
	"net"
	"testing"

	"culvert/tunnel/internal/proxytest"
)

// textAddr is an address that is not a *net.TCPAddr.
type textAddr string

func (textAddr) Network() string  { return "test" }
func (a textAddr) String() string { return string(a) }

type addressedConn struct {
	net.Conn
	remote net.Addr
}

func (c *addressedConn) RemoteAddr() net.Addr { return c.remote }

// serverInBubble runs test with a Server and its access log in a bubble.
func serverInBubble(t *testing.T, s *Server, test func(t *testing.T, l *proxytest.FakeListener, log *proxytest.AccessLog)) {
	t.Helper()
	var log *proxytest.AccessLog
	prepare := func() {
		log = proxytest.NewAccessLog()
		s.AccessLog = log.Logger()
	}
	proxytest.InBubble(t, s, ErrServerClosed, prepare, func(t *testing.T, l *proxytest.FakeListener) { test(t, l, log) })
}
