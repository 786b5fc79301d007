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

// ownPair is a socket that was accepted, and the other end.
func ownPair(t *testing.T) (near *sock.Conn, far *net.TCPConn) {
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

// A socket enters Go's poller when somebody waits, and not before.
func TestSocketParksOnlyToWait(t *testing.T) {
	near, far := ownPair(t)
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
		t.Error("it is in the poller, though nobody has waited")
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

// What does not fit into the send queue is waited for, and arrives in order.
func TestSocketWritesMoreThanFits(t *testing.T) {
	near, far := ownPair(t)
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

// Deadlines hold in and out of the poller, and can be lifted.
func TestSocketDeadlines(t *testing.T) {
	for _, wait := range []bool{false, true} {
		near, far := ownPair(t)
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
			t.Errorf("parked %t: after the deadline was lifted: %d, %v", wait, n, err)
		}
		if near.Parked() != wait {
			t.Errorf("parked %t, want %t", near.Parked(), wait)
		}
	}
}

// A read that waits ends when the deadline is moved, and when another
// goroutine closes.
func TestSocketWaitIsInterrupted(t *testing.T) {
	for name, interrupt := range map[string]func(*sock.Conn){
		"deadline": func(s *sock.Conn) { s.SetReadDeadline(sock.Past) },
		"close":    func(s *sock.Conn) { s.Close() },
	} {
		near, _ := ownPair(t)
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

// Every method of a closed socket says so and touches no descriptor, which may
// be another connection's by then.
func TestSocketClosed(t *testing.T) {
	for _, wait := range []bool{false, true} {
		near, _ := ownPair(t)
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
			rawErr = net.ErrClosed // the file itself tells, when it is used
		}
		for what, err := range map[string]error{
			"Read": readErr, "Write": writeErr, "SyscallConn": rawErr, "Close": near.Close(), "CloseWrite": near.CloseWrite(),
			"SetDeadline": near.SetDeadline(sock.Past), "SetLinger": near.SetLinger(0),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("parked %t: %s of a closed socket: %v", wait, what, err)
			}
		}
		if fd, ok := near.Take(); ok {
			t.Errorf("parked %t: took descriptor %d of a closed socket", wait, fd)
		}
	}
}

// A descriptor that is taken works on, whether the poller had it or not, and
// what was restored works again.
func TestSocketTake(t *testing.T) {
	for _, wait := range []bool{false, true} {
		near, far := ownPair(t)
		if wait {
			near.SetReadDeadline(time.Now().Add(time.Millisecond))
			near.Read(make([]byte, 1))
			near.SetReadDeadline(time.Time{})
		}
		fd, ok := near.Take()
		if !ok {
			t.Fatal("not taken")
		}
		if near.Close() == nil {
			t.Error("a taken socket was not closed yet")
		}
		if _, errno := sock.SendNow(fd, []byte("taken")); errno != 0 {
			t.Error(errno)
		}
		testkit.Expect(t, far, "taken")
		near.Restore(fd)
		if _, err := near.Write([]byte("again")); err != nil {
			t.Error(err)
		}
		testkit.Expect(t, far, "again")
	}
}

// An accepted connection has inherited its options; a dialled one has the same.
func TestSocketOptions(t *testing.T) {
	accepted, _ := ownPair(t)
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

func TestSocketAddresses(t *testing.T) {
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

func TestConnectSocketFails(t *testing.T) {
	free := netip.MustParseAddrPort(tunneltest.Unused(t))
	if _, err := sock.Connect(context.Background(), free); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	stuck := netip.MustParseAddrPort(testkit.Unanswered(t))
	ended, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := sock.Connect(ended, stuck); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
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

// TCP can connect a port with itself, and a proxy would then talk to itself in
// the target's name.
func TestSocketIsItsOwnPeer(t *testing.T) {
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
	if near, _ := ownPair(t); near.IsOwnPeer() {
		t.Error("a connection of two ports was taken for one")
	}
}

// The listener closed by another goroutine ends the accept.
func TestSocketListenerCloses(t *testing.T) {
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
		t.Fatal("accept goes on")
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	testkit.WantClosed(t, l)
}
