package tunnel

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unanswered is a loopback address that does not answer a SYN: nobody accepts
// there, and the queue is full.
func unanswered(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}).String()
	for range 16 {
		conn, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this kernel's queue has no end")
	return ""
}

// RULES 16: a target that does not answer.
func TestRefusalWhenConnectingTimesOut(t *testing.T) {
	addr := unanswered(t)
	ts := startServer(t, &Server{ConnectTimeout: 30 * time.Millisecond})
	a := ts.ask(connectHead(addr))
	rec := ts.checkRefusal(a, 504, "connection_timeout")
	rec.want(t, "addr", addr)
	through := startServer(t, &Server{ConnectTimeout: 30 * time.Millisecond, Via: []ViaRule{{Route: mustRoute(t, addr)}}})
	through.refused(connectHead("example.test:443"), 504, "connection_timeout")
}

// A connection that is being opened when everything ends is given up.
func TestCloseWhileConnecting(t *testing.T) {
	ts := startServer(t, &Server{ConnectTimeout: time.Hour})
	conn := ts.dial()
	send(t, conn, connectHead(unanswered(t)))
	eventually(t, "the tunnel has its slot", func() bool { return ts.server.Open() == 1 })
	ts.server.Close()
	ts.record(eventRequest).want(t, "error", "proxy_internal_response")
}
