package proxytest

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"culvert/tunnel/internal/testkit"
)

// FakeListener has an address, and accepts what it is given.
type FakeListener struct {
	At    net.Addr
	conns chan net.Conn
	done  chan struct{}
}

func newFakeListener(addr net.Addr) *FakeListener {
	return &FakeListener{addr, make(chan net.Conn), make(chan struct{})}
}

func (l *FakeListener) Addr() net.Addr { return l.At }

func (l *FakeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *FakeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Connect is a client's conn to the listener, from an address.
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

// InBubble runs test with a proxy in a bubble, where time passes only when nothing
// else can happen. prepare is called within the bubble, before the proxy serves: what
// it makes, as the access log, is the bubble's.
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
