package sock_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"

	"golang.org/x/sys/unix"
)

// connPair returns an accepted Conn, and its peer.
func connPair(t *testing.T) (near *sock.Conn, far *net.TCPConn) {
	t.Helper()
	l := testkit.Listen(t, "127.0.0.1:0")
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	conn.SetDeadline(time.Now().Add(testkit.Patience))
	return accepted.(*sock.Conn), conn.(*net.TCPConn)
}

// arrived waits until n bytes, or end of file, can be read from s.
func arrived(t *testing.T, s *sock.Conn, n int) {
	t.Helper()
	testkit.Eventually(t, "the bytes are there", func() (there bool) {
		err := s.Control(func(fd int) error {
			got, _, err := unix.Recvfrom(fd, make([]byte, n+1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			there = err == nil && (n == 0 || got >= n)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return there
	})
}

// A Conn enters Go's poller when a read or write has to wait, and not before.
func TestConnParksOnlyToWait(t *testing.T) {
	near, far := connPair(t)
	testkit.Send(t, far, "one")
	arrived(t, near, 3)
	buf := make([]byte, 100)
	if n, err := near.Read(buf); err != nil || string(buf[:n]) != "one" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	if _, err := near.Write([]byte("two")); err != nil {
		t.Fatal(err)
	}
	testkit.Expect(t, far, "two")
	if near.Parked() {
		t.Error("it is in the poller, though nothing has waited")
	}
	got := make(chan string)
	go func() {
		n, _ := near.Read(buf)
		got <- string(buf[:n])
	}()
	testkit.Eventually(t, "it is in the poller", near.Parked)
	testkit.Send(t, far, "three")
	if text := <-got; text != "three" {
		t.Errorf("read %q", text)
	}
	far.CloseWrite()
	if _, err := near.Read(buf); err != io.EOF {
		t.Errorf("end of file read as %v", err)
	}
	if err := near.CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := far.Read(buf); err != io.EOF {
		t.Errorf("CloseWrite arrived as %v", err)
	}
}

// Bytes that do not fit into the send queue wait, and arrive in order.
func TestConnWritesMoreThanFits(t *testing.T) {
	near, far := connPair(t)
	text := strings.Repeat("0123456789abcdef", 1<<20)
	wrote := make(chan error, 1)
	go func() {
		n, err := near.Write([]byte(text))
		if err == nil && n != len(text) {
			err = io.ErrShortWrite
		}
		near.CloseWrite()
		wrote <- err
	}()
	testkit.Eventually(t, "the queue is full", near.Parked)
	all, err := io.ReadAll(far)
	if err != nil || string(all) != text {
		t.Errorf("%d bytes arrived, %v", len(all), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// Deadlines hold in and out of the poller, and can be removed.
func TestConnDeadlines(t *testing.T) {
	for _, wait := range []bool{false, true} {
		near, far := connPair(t)
		if wait {
			near.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := near.Read(make([]byte, 1)); !neterr.Timeout(err) {
				t.Fatalf("a read that waited ended with %v", err)
			}
		}
		testkit.Send(t, far, "x")
		arrived(t, near, 1)
		near.SetDeadline(sock.Past)
		if _, err := near.Read(make([]byte, 1)); !neterr.Timeout(err) {
			t.Errorf("parked %t: read past the deadline: %v", wait, err)
		}
		if _, err := near.Write([]byte("y")); !neterr.Timeout(err) {
			t.Errorf("parked %t: write past the deadline: %v", wait, err)
		}
		near.SetDeadline(time.Time{})
		if n, err := near.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("parked %t: after the deadline was removed: %d, %v", wait, n, err)
		}
		if near.Parked() != wait {
			t.Errorf("parked %t, want %t", near.Parked(), wait)
		}
	}
}

// A waiting read ends when the deadline is moved, and when another goroutine closes
// the Conn.
func TestConnWaitIsInterrupted(t *testing.T) {
	for name, interrupt := range map[string]func(*sock.Conn){
		"deadline": func(s *sock.Conn) { s.SetReadDeadline(sock.Past) },
		"close":    func(s *sock.Conn) { s.Close() },
	} {
		near, _ := connPair(t)
		ended := make(chan error, 1)
		go func() {
			_, err := near.Read(make([]byte, 1))
			ended <- err
		}()
		testkit.Eventually(t, "the read waits", near.Parked)
		interrupt(near)
		select {
		case err := <-ended:
			if want := map[string]error{"deadline": os.ErrDeadlineExceeded, "close": net.ErrClosed}[name]; !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		case <-time.After(testkit.Patience):
			t.Fatalf("%s did not end the read", name)
		}
	}
}

// Every method of a closed Conn says so, and touches no descriptor: its number may
// belong to another connection by then.
func TestConnClosed(t *testing.T) {
	for _, wait := range []bool{false, true} {
		near, _ := connPair(t)
		if wait {
			near.SetReadDeadline(time.Now().Add(time.Millisecond))
			near.Read(make([]byte, 1))
		}
		if err := near.Close(); err != nil {
			t.Fatal(err)
		}
		_, readErr := near.Read(make([]byte, 1))
		_, writeErr := near.Write([]byte("x"))
		_, rawErr := near.SyscallConn()
		if wait {
			rawErr = net.ErrClosed // the error comes when the file is used
		}
		for what, err := range map[string]error{
			"Read": readErr, "Write": writeErr, "SyscallConn": rawErr, "Close": near.Close(), "CloseWrite": near.CloseWrite(),
			"SetDeadline": near.SetDeadline(sock.Past), "SetLinger": near.SetLinger(0),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("parked %t: %s of a closed socket: %v", wait, what, err)
			}
		}
		if fd, ok := near.Detach(); ok {
			t.Errorf("parked %t: descriptor %d was detached from a closed Conn", wait, fd)
		}
	}
}

// A detached descriptor still works, whether it was in the poller or not, and so
// does the Conn it is restored to.
func TestConnDetach(t *testing.T) {
	for _, wait := range []bool{false, true} {
		near, far := connPair(t)
		if wait {
			near.SetReadDeadline(time.Now().Add(time.Millisecond))
			near.Read(make([]byte, 1))
			near.SetReadDeadline(time.Time{})
		}
		fd, ok := near.Detach()
		if !ok {
			t.Fatal("not detached")
		}
		if near.Close() == nil {
			t.Error("a Conn without its descriptor was not closed")
		}
		if _, errno := sock.SendNow(fd, []byte("detached")); errno != 0 {
			t.Error(errno)
		}
		testkit.Expect(t, far, "detached")
		near.Restore(fd)
		if _, err := near.Write([]byte("again")); err != nil {
			t.Error(err)
		}
		testkit.Expect(t, far, "again")
	}
}

// An accepted connection inherits its options; a dialled one has the same.
func TestConnOptions(t *testing.T) {
	accepted, _ := connPair(t)
	l := testkit.Listen(t, "127.0.0.1:0")
	conn, err := sock.Connect(context.Background(), l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for who, s := range map[string]*sock.Conn{"accepted": accepted, "dialled": conn.(*sock.Conn)} {
		for name, o := range map[string]struct{ level, option, want int }{
			"TCP_NODELAY":   {unix.SOL_TCP, unix.TCP_NODELAY, 1},
			"SO_KEEPALIVE":  {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			"TCP_KEEPIDLE":  {unix.SOL_TCP, unix.TCP_KEEPIDLE, 60},
			"TCP_KEEPINTVL": {unix.SOL_TCP, unix.TCP_KEEPINTVL, 15},
			"TCP_KEEPCNT":   {unix.SOL_TCP, unix.TCP_KEEPCNT, 4},
			"SO_PROTOCOL":   {unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP},
		} {
			s.Control(func(fd int) error {
				if got, err := unix.GetsockoptInt(fd, o.level, o.option); err != nil || got != o.want {
					t.Errorf("%s: %s is %d, %v; want %d", who, name, got, err, o.want)
				}
				if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
					t.Errorf("%s: it blocks", who)
				}
				if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Errorf("%s: a child would inherit it", who)
				}
				return nil
			})
		}
		if s.Parked() {
			t.Errorf("%s: it is in the poller", who)
		}
	}
	if got := conn.RemoteAddr().String(); got != l.Addr().String() {
		t.Errorf("it says it is connected to %s", got)
	}
}

func TestConnAddresses(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := sock.Listen(context.Background(), "tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err)
			continue
		}
		defer l.Close()
		to := l.Addr().(*net.TCPAddr).AddrPort()
		dialled, err := sock.Connect(context.Background(), to)
		if err != nil {
			t.Fatal(err)
		}
		defer dialled.Close()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if a, d := accepted.LocalAddr().String(), dialled.RemoteAddr().String(); a != d || a != to.String() {
			t.Errorf("%s: accepted at %s, dialled %s", to, a, d)
		}
		if a, d := accepted.RemoteAddr().String(), dialled.LocalAddr().String(); a != d {
			t.Errorf("%s: accepted from %s, dialled from %s", to, a, d)
		}
	}
}

func TestConnectFails(t *testing.T) {
	free := netip.MustParseAddrPort(tunneltest.Unused(t))
	if _, err := sock.Connect(context.Background(), free); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nothing listens: %v", err)
	}
	stuck := netip.MustParseAddrPort(testkit.Unanswered(t))
	ended, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := sock.Connect(ended, stuck); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", err)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := sock.Connect(cancelled, stuck); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := sock.Connect(cancelled, free); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
}

// TCP can connect a port with itself. A proxy would then talk to itself in place of
// the target.
func TestConnIsItsOwnPeer(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	self := sock.LocalAddr(fd)
	to, _ := sock.SockaddrOf(self)
	if errno := to.ConnectNow(fd); errno != 0 {
		t.Fatal(errno)
	}
	s := sock.NewConn(fd, self)
	defer s.Close()
	if !s.IsOwnPeer() {
		t.Error("a connection of a port with itself was not seen")
	}
	if near, _ := connPair(t); near.IsOwnPeer() {
		t.Error("a connection of two ports was taken for one")
	}
}

// Closing the listener in another goroutine ends Accept.
func TestListenerCloses(t *testing.T) {
	l := testkit.Listen(t, "127.0.0.1:0")
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept ended with %v", err)
		}
	case <-time.After(testkit.Patience):
		t.Fatal("accept still waits")
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	testkit.WantClosed(t, l)
}
