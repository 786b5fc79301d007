package testkit

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/tunneltest"
)

// Send writes text.
func Send(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
}

// Expect reads as many bytes as text has, and fails the test if they differ.
func Expect(tb testing.TB, r io.Reader, text string) {
	tb.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != text {
		tb.Fatalf("read %.60q, %v; want %.60q", got[:n], err, text)
	}
}

// ExpectLast reads to the end, which must be orderly, and fails the test if the bytes
// differ from text.
func ExpectLast(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if got, err := io.ReadAll(conn); err != nil || string(got) != text {
		tb.Fatalf("read %d bytes %.60q, %v; want %d bytes %.60q", len(got), got, err, len(text), text)
	}
}

// ExpectReset reads to the end, which must be a reset, and fails the test if the bytes
// differ from text.
func ExpectReset(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if got, err := io.ReadAll(conn); !neterr.Reset(err) || string(got) != text {
		tb.Fatalf("read %d bytes %.60q, %v; want %d bytes %.60q and a reset", len(got), got, err, len(text), text)
	}
}

// HalfClose sends end of file.
func HalfClose(tb testing.TB, conn net.Conn) {
	tb.Helper()
	if err := conn.(sock.HalfCloser).CloseWrite(); err != nil {
		tb.Fatal(err)
	}
}

// Reset closes a stream of HTTP/2, or the TCP connection beneath conn, with a reset.
func Reset(conn net.Conn) {
	if s, ok := conn.(*h2.Stream); ok {
		s.Reset(h2.CodeCancel)
		return
	}
	tcp := sock.TCPOf(conn)
	_ = tcp.SetLinger(0)
	_ = tcp.Close()
}

// CloseUnread closes a stream of HTTP/2, or the TCP connection beneath conn, that has unread
// bytes: the peer gets a reset. A close of TLS would send close_notify before.
func CloseUnread(conn net.Conn) {
	if s, ok := conn.(*h2.Stream); ok {
		_ = s.Close()
		return
	}
	_ = sock.TCPOf(conn).Close()
}

// SocketPair returns the accepted and the dialled end of a connection. The caller closes
// both.
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

// TCPPair is SocketPair over TCP.
func TCPPair(tb testing.TB) (near, far net.Conn) { return SocketPair(tb, "tcp", "127.0.0.1:0") }

// UnixPair is SocketPair over a unix socket.
func UnixPair(tb testing.TB) (near, far net.Conn) {
	return SocketPair(tb, "unix", filepath.Join(tb.TempDir(), "s"))
}

// HiddenConn is a TCP connection that counts as more than a socket.
type HiddenConn struct{ net.Conn }

// CloseWrite implements sock.HalfCloser.
func (c HiddenConn) CloseWrite() error { return c.Conn.(sock.HalfCloser).CloseWrite() }

// NetConn returns the TCP connection.
func (c HiddenConn) NetConn() net.Conn { return c.Conn }

// MemoryConn is a connection in memory that can be half-closed: a net.Pipe for each way.
type MemoryConn struct {
	net.Conn // the way in
	out      net.Conn
}

// Write implements net.Conn.
func (c MemoryConn) Write(b []byte) (int, error) { return c.out.Write(b) }

// CloseWrite implements sock.HalfCloser.
func (c MemoryConn) CloseWrite() error { return c.out.Close() }

// Close implements net.Conn.
func (c MemoryConn) Close() error { return errors.Join(c.Conn.Close(), c.out.Close()) }

// SetDeadline implements net.Conn.
func (c MemoryConn) SetDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetDeadline(t), c.out.SetDeadline(t))
}

// SetWriteDeadline implements net.Conn.
func (c MemoryConn) SetWriteDeadline(t time.Time) error { return c.out.SetWriteDeadline(t) }

// MemoryPair returns the two ends of a connection in memory, each a MemoryConn.
func MemoryPair(testing.TB) (near, far net.Conn) {
	in, farOut := net.Pipe()
	out, farIn := net.Pipe()
	return MemoryConn{in, out}, MemoryConn{farIn, farOut}
}

// Endless is an input that never ends.
type Endless struct{}

// Read implements io.Reader.
func (Endless) Read(b []byte) (int, error) { return len(b), nil }

// Listen listens on a TCP address until the end of the test. Its connections are those of
// package sock, as in the program.
func Listen(tb testing.TB, address string) net.Listener {
	tb.Helper()
	l, err := sock.Listen(context.Background(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

// Dial opens a connection, which has a deadline and is closed at the end of the test.
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

// DialFrom is Dial from another loopback address. It skips the test on a system that does not
// have this address.
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

// StartAt starts a target on an address. It skips the test on a machine that does not have
// this address.
func StartAt(tb testing.TB, address string, handler tunneltest.Handler) *tunneltest.Server {
	tb.Helper()
	s, err := tunneltest.Listen("tcp", address, handler)
	if err != nil {
		tb.Skip("this machine has not the address: ", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Collect starts a target that reads each connection to its end, and sends what it has read
// to got.
func Collect(tb testing.TB) (target *tunneltest.Server, got <-chan string) {
	tb.Helper()
	all := make(chan string, 16)
	return tunneltest.Start(tb, func(conn net.Conn) {
		b, _ := io.ReadAll(conn)
		all <- string(b)
	}), all
}

// WantClosed checks that a listener accepts no more connections. It calls Accept, because the
// port may belong to another listener by now.
func WantClosed(t *testing.T, l net.Listener) {
	t.Helper()
	if conn, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after the end returned %v", err)
		if err == nil {
			conn.Close()
		}
	}
}

// HangUp returns a script that reads a head, sends reply and closes the connection.
func HangUp(reply string) []tunneltest.Step {
	return []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send(reply), tunneltest.Finish}
}

// SocketPath returns the path of a unix socket that a test may make. It skips the test where
// sockets have no mode.
func SocketPath(tb testing.TB) string {
	tb.Helper()
	if runtime.GOOS == "windows" {
		tb.Skip("sockets have no mode here")
	}
	return filepath.Join(tb.TempDir(), "s")
}
