package tunnel

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
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

// fakeListener has an address, and accepts what it is given.
type fakeListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
}

func newFakeListener(addr net.Addr) *fakeListener {
	return &fakeListener{addr, make(chan net.Conn), make(chan struct{})}
}

func (l *fakeListener) Addr() net.Addr { return l.addr }

func (l *fakeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// connect is a client's conn to the listener, from an address.
func (l *fakeListener) connect(t *testing.T, from string) net.Conn {
	near, far := memoryPair(t)
	l.conns <- clientAt{near.(memoryConn), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	return far
}

// clientAt is an in-memory conn whose other end has an address.
type clientAt struct {
	memoryConn
	remote net.Addr
}

func (c clientAt) RemoteAddr() net.Addr { return c.remote }

// serverInBubble runs test with a Server in a bubble, where time passes only
// when nothing else can happen.
func serverInBubble(t *testing.T, s *Server, test func(t *testing.T, l *fakeListener, log *accessLog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newFakeListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3128})
		log := newAccessLog()
		s.AccessLog = log.logger()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		test(t, l, log)
		s.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
}
