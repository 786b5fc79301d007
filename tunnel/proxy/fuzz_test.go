package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"

	"golang.org/x/net/http2/hpack"
)

// writtenConn is a client that has sent everything at once, and reads nothing.
type writtenConn struct {
	in     *bytes.Reader
	once   sync.Once
	closed chan struct{}
}

func (c *writtenConn) Read(b []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
		return c.in.Read(b)
	}
}

func (c *writtenConn) Write(b []byte) (int, error) { return len(b), nil }

func (c *writtenConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *writtenConn) CloseWrite() error { return nil }
func (c *writtenConn) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3128}
}
func (c *writtenConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c *writtenConn) SetDeadline(time.Time) error      { return nil }
func (c *writtenConn) SetReadDeadline(time.Time) error  { return nil }
func (c *writtenConn) SetWriteDeadline(time.Time) error { return nil }

// anyone takes every password: wrong ones would have to wait for their turns.
type anyone struct{}

func (anyone) Verify(string, string) bool { return true }

// givenListener accepts the connections that it is given.
type givenListener struct {
	net.Listener // for its address
	conns        chan net.Conn
	done         chan struct{}
	once         sync.Once
}

func (l *givenListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *givenListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// Whatever a client sends, in whatever version of HTTP: nothing panics, and the
// connection ends. Targets are judged, and none is connected to.
func FuzzClient(f *testing.F) {
	login := testkit.Basic("ada", "x")
	for _, head := range []string{
		proxytest.ConnectHead("a.test:443", login), "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + login + "\r\n\r\n",
		"POST http://[::1]:80/ HTTP/1.1\r\nHost: a\r\n" + login + "\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"GET http://a.test/ HTTP/1.0\nUpgrade: websocket\nConnection: Upgrade\n\n", "OPTIONS * HTTP/1.1\r\nMax-Forwards: 0\r\nHost: a\r\n\r\n",
		"CONNECT 192.0.2.1:22 HTTP/1.0\r\nProxy-Authorization: Digest x\r\n\r\nearly", "\x16\x03\x01\x00", "SSH-2.0-x\r\n",
	} {
		f.Add([]byte(head + head))
	}
	for _, fields := range [][]string{
		{":method", "CONNECT", ":authority", "a.test:443", "proxy-authorization", "Basic YWRhOng="},
		{":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/", "cookie", "a", "cookie", "b"},
		{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a.test", ":path", "/"},
	} {
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for i := 0; i < len(fields); i += 2 {
			_ = enc.WriteField(h2.Field{Name: fields[i], Value: fields[i+1]})
		}
		frame := append([]byte{0, 0, byte(block.Len()), 1, 5}, binary.BigEndian.AppendUint32(nil, 1)...)
		f.Add(append(append([]byte(h2.Preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"), frame...), block.Bytes()...))
	}
	everywhere := []policy.AddrRule{}
	for _, s := range []string{"0.0.0.0/0", "::/0"} {
		rule, err := policy.ParseAddrRule(s)
		if err != nil {
			f.Fatal(err)
		}
		everywhere = append(everywhere, rule)
	}
	s := &Server{
		Policy:   policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(f, "*:*")}, DenyAddr: everywhere},
		Verifier: anyone{}, AccessLog: slog.New(slog.DiscardHandler),
		Resolver: testkit.FakeResolver(func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}),
	}
	l := &givenListener{Listener: testkit.Listen(f, "127.0.0.1:0"), conns: make(chan net.Conn), done: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	f.Cleanup(func() {
		s.Close()
		<-served
	})
	f.Fuzz(func(t *testing.T, sent []byte) {
		panics.Handle(func(r panics.Report) { t.Errorf("panic in %s: %v\n%s", r.Where, r.Value, r.Stack) })
		defer panics.Handle(nil)
		c := &writtenConn{in: bytes.NewReader(sent), closed: make(chan struct{})}
		l.conns <- c
		testkit.Receive(t, "the end of the connection", c.closed)
	})
}
