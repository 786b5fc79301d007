package testkit

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/tunneltest"
)

// Send writes text, or fails the test.
func Send(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
}

// Expect reads as many bytes as text has, which must be these.
func Expect(tb testing.TB, r io.Reader, text string) {
	tb.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != text {
		tb.Fatalf("read %.60q, %v; want %.60q", got[:n], err, text)
	}
}

// ExpectLast reads to the end, which must be an orderly one.
func ExpectLast(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if got, err := io.ReadAll(conn); err != nil || string(got) != text {
		tb.Fatalf("read %d bytes %.60q, %v; want %d bytes %.60q", len(got), got, err, len(text), text)
	}
}

// ExpectReset reads to the end, which must be a reset.
func ExpectReset(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if got, err := io.ReadAll(conn); !neterr.Reset(err) || string(got) != text {
		tb.Fatalf("read %d bytes %.60q, %v; want %d bytes %.60q and a reset", len(got), got, err, len(text), text)
	}
}

// HalfClose sends end of file on conn, which must be able to.
func HalfClose(tb testing.TB, conn net.Conn) {
	tb.Helper()
	if err := conn.(sock.HalfCloser).CloseWrite(); err != nil {
		tb.Fatal(err)
	}
}

// Reset closes conn with a reset: of the TCP connection, or of the stream.
func Reset(conn net.Conn) {
	if s, ok := conn.(*h2.Stream); ok {
		s.Reset(h2.CodeCancel)
		return
	}
	tcp := sock.TCPOf(conn)
	_ = tcp.SetLinger(0)
	_ = tcp.Close()
}

// CloseUnread closes conn, whose bytes lie unread: that tears it. TLS would say
// goodbye before.
func CloseUnread(conn net.Conn) {
	if s, ok := conn.(*h2.Stream); ok {
		_ = s.Close()
		return
	}
	_ = sock.TCPOf(conn).Close()
}

// SocketPair connects over a listener.
func SocketPair(tb testing.TB, network, address string) (near, far net.Conn) {
	tb.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	if far, err = net.Dial(network, listener.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if near, err = listener.Accept(); err != nil {
		tb.Fatal(err)
	}
	return near, far
}

// TCPPair returns the two ends of a TCP connection. The caller closes both.
func TCPPair(tb testing.TB) (near, far net.Conn) { return SocketPair(tb, "tcp", "127.0.0.1:0") }

// UnixPair returns the two ends of a connection over a unix socket. The caller closes both.
func UnixPair(tb testing.TB) (near, far net.Conn) {
	return SocketPair(tb, "unix", filepath.Join(tb.TempDir(), "s"))
}

// HiddenConn is a TCP conn to be taken for more than a socket.
type HiddenConn struct{ net.Conn }

func (c HiddenConn) CloseWrite() error { return c.Conn.(sock.HalfCloser).CloseWrite() }

func (c HiddenConn) NetConn() net.Conn { return c.Conn }

// MemoryConn is an in-memory conn that can half-close: a net.Pipe for each way.
type MemoryConn struct {
	net.Conn // the way in
	out      net.Conn
}

func (c MemoryConn) Write(b []byte) (int, error) { return c.out.Write(b) }

func (c MemoryConn) CloseWrite() error { return c.out.Close() }

func (c MemoryConn) Close() error { return errors.Join(c.Conn.Close(), c.out.Close()) }

func (c MemoryConn) SetDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetDeadline(t), c.out.SetDeadline(t))
}

func (c MemoryConn) SetWriteDeadline(t time.Time) error { return c.out.SetWriteDeadline(t) }

// MemoryPair returns the two ends of a connection in memory, each of which can half-close.
func MemoryPair(testing.TB) (near, far net.Conn) {
	in, farOut := net.Pipe()
	out, farIn := net.Pipe()
	return MemoryConn{in, out}, MemoryConn{farIn, farOut}
}

// Endless is a source without end.
type Endless struct{}

func (Endless) Read(b []byte) (int, error) { return len(b), nil }

// Listen listens on a TCP address until the end of the test, as the program's
// listeners do.
func Listen(tb testing.TB, address string) net.Listener {
	tb.Helper()
	l, err := sock.Listen(context.Background(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

// Dial connects to address until the end of the test; every wait on the conn is bounded by Patience.
func Dial(tb testing.TB, network, address string) net.Conn {
	tb.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(Patience))
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// DialFrom is Dial from another loopback address, which not every system has.
func DialFrom(tb testing.TB, from, address string) net.Conn {
	tb.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		tb.Skip("this needs a second loopback address: ", err)
	}
	conn.SetDeadline(time.Now().Add(Patience))
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// StartAt starts a target on an address that not every machine has.
func StartAt(tb testing.TB, address string, handler tunneltest.Handler) *tunneltest.Server {
	tb.Helper()
	s, err := tunneltest.Listen("tcp", address, handler)
	if err != nil {
		tb.Skip("this machine has not the address: ", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Collect is a target that hands over all that came, and from whom.
func Collect(tb testing.TB) (target *tunneltest.Server, got <-chan string) {
	tb.Helper()
	all := make(chan string, 16)
	return tunneltest.Start(tb, func(conn net.Conn) {
		b, _ := io.ReadAll(conn)
		all <- string(b)
	}), all
}

// WantClosed checks that a listener takes no more clients. It asks the listener
// itself, as its port may be another's by now.
func WantClosed(t *testing.T, l net.Listener) {
	t.Helper()
	if conn, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after the end returned %v", err)
		if err == nil {
			conn.Close()
		}
	}
}

// HangUp is a script that answers and closes; holdOn leaves the
// connection open.
func HangUp(reply string) []tunneltest.Step {
	return []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send(reply), tunneltest.Finish}
}
