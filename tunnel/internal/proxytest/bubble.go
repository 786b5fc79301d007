package proxytest

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"culvert/tunnel/internal/testkit"
)

// FakeListener is a listener with any address. It accepts the conns of Connect.
type FakeListener struct {
	At    net.Addr // what Addr returns
	conns chan net.Conn
	done  chan struct{}
}

func newFakeListener(addr net.Addr) *FakeListener {
	return &FakeListener{addr, make(chan net.Conn), make(chan struct{})}
}

// Addr implements net.Listener.
func (l *FakeListener) Addr() net.Addr { return l.At }

// Close implements net.Listener.
func (l *FakeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

// Accept implements net.Listener.
func (l *FakeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Connect connects to the listener in memory, from the address from, and returns the
// client's conn.
func (l *FakeListener) Connect(t *testing.T, from string) net.Conn {
	near, far := testkit.MemoryPair(t)
	l.conns <- clientAt{near.(testkit.MemoryConn), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	return far
}

// clientAt is an in-memory conn whose other end has an address.
type clientAt struct {
	testkit.MemoryConn
	remote net.Addr
}

func (c clientAt) RemoteAddr() net.Addr { return c.remote }

// InBubble runs test with a Server in a synctest bubble, where time passes only when all
// goroutines wait. Prepare is called in the bubble before the Server serves; channels
// that the bubble uses, such as the access log's, must be made there. Serve must return
// ended.
func InBubble(t *testing.T, s Server, ended error, prepare func(), test func(t *testing.T, l *FakeListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		prepare()
		l := newFakeListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3128})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		test(t, l)
		s.Close()
		if err := <-served; !errors.Is(err, ended) {
			t.Errorf("Serve returned %v", err)
		}
	})
}
