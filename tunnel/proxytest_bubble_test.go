package tunnel

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
)

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

// proxyInBubble runs test with a proxy in a bubble, where time passes only when nothing
// else can happen. prepare is called within the bubble, before the proxy serves: what
// it makes, as the access log, is the bubble's.
func proxyInBubble(t *testing.T, s proxyServer, ended error, prepare func(), test func(t *testing.T, l *fakeListener)) {
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
