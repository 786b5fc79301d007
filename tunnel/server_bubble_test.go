package tunnel

import (
	"net"
	"testing"
)

// textAddr is an address that is no *net.TCPAddr.
type textAddr string

func (textAddr) Network() string  { return "test" }
func (a textAddr) String() string { return string(a) }

type addressedConn struct {
	net.Conn
	remote net.Addr
}

func (c *addressedConn) RemoteAddr() net.Addr { return c.remote }

// serverInBubble runs test with a Server in a bubble, and its access log.
func serverInBubble(t *testing.T, s *Server, test func(t *testing.T, l *fakeListener, log *accessLog)) {
	t.Helper()
	var log *accessLog
	prepare := func() {
		log = newAccessLog()
		s.AccessLog = log.logger()
	}
	proxyInBubble(t, s, ErrServerClosed, prepare, func(t *testing.T, l *fakeListener) { test(t, l, log) })
}
