//go:build unix

package stdio

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"

	"golang.org/x/sys/unix"
)

// sshSockets returns the two ends of a unix socket, as ssh makes them for its
// ProxyCommand.
func sshSockets(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// received receives a socket as ssh does: one byte, and one descriptor with it.
func received(t *testing.T, from *os.File) *os.File {
	t.Helper()
	b, oob := make([]byte, 2), make([]byte, unix.CmsgSpace(2*4))
	n, oobn, _, _, err := unix.Recvmsg(int(from.Fd()), b, oob, unix.MSG_DONTWAIT)
	if n != 1 || err != nil {
		t.Fatalf("%d bytes came, %v; want 1", n, err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages, %v; want 1", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("%d descriptors, %v; want 1", len(fds), err)
	}
	file := os.NewFile(uintptr(fds[0]), "received")
	t.Cleanup(func() { file.Close() })
	return file
}

// handedOver opens a tunnel and hands it over. It returns the socket that was received,
// and the exchanges with the proxies.
func handedOver(t *testing.T, c *client.Client, target string) (*os.File, []*client.Exchange) {
	t.Helper()
	var exchanges []*client.Exchange
	c.KeepUnread = true
	c.Trace = &client.Trace{Exchanged: func(x *client.Exchange) { exchanges = append(exchanges, x) }}
	conn, err := c.Open(t.Context(), testkit.MustAuthority(t, target))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := sshSockets(t)
	if err := HandOver(conn, theirs); err != nil {
		conn.Close()
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the Conn is not closed: %v", err)
	}
	return received(t, ours), exchanges
}

// wantEcho reads the first words of the target, and then checks that it echoes.
func wantEcho(t *testing.T, file *os.File, first string) {
	t.Helper()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(testkit.Patience))
	testkit.Expect(t, conn, first)
	fmt.Fprint(conn, "ping")
	testkit.Expect(t, conn, "ping")
}

// Bytes that the target sends right after the reply are in the socket that is handed
// over: all of them, and nothing before them.
func TestHandOverLosesNothing(t *testing.T) {
	const ok, hello = "HTTP/1.1 200 OK\r\n\r\n", "SSH-2.0-hello\r\n"
	const interim = "HTTP/1.1 100 Continue\r\n\r\n"
	bare := "HTTP/1.1 200 OK\nX: y\n\n"
	long := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n"
	for _, tt := range []struct {
		name          string
		interim, head string
		first         string
		send          func(string) tunneltest.Step
	}{
		{"in one piece", "", ok, hello, tunneltest.Send},
		{"byte by byte", "", ok, hello, tunneltest.SendBytewise},
		{"100 before 200", interim, ok, hello, tunneltest.Send},
		{"100 before 200 byte by byte", interim, ok, hello, tunneltest.SendBytewise},
		{"bare LF", "", bare, hello, tunneltest.Send},
		{"bare LF byte by byte", "", bare, hello, tunneltest.SendBytewise},
		{"64 KiB behind", "", ok, strings.Repeat("0123456789abcde\n", 4<<10), tunneltest.Send},
		{"head beyond the buffer", "", long, hello, tunneltest.Send},
		{"first words like a head's end", "", ok, "\r\n\n\r\n\r\n" + hello, tunneltest.Send},
		{"first words like a reply", "", ok, ok + hello, tunneltest.Send},
		{"target waits", "", ok, "", tunneltest.Send},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tunneltest.StartProxy(t, tunneltest.ReadHead, tt.send(tt.interim+tt.head+tt.first), tunneltest.Serve(tunneltest.Echo))
			file, exchanges := handedOver(t, clienttest.Proxied(t, p.Addr()), "example.com:22")
			wantEcho(t, file, tt.first)
			x := exchanges[0]
			if got := string(x.Reply); got != tt.head || x.Glued != 0 {
				t.Errorf("the head is %q, with %d bytes behind it; want %q", got, x.Glued, tt.head)
			}
			if got := len(x.Interim); got != len(tt.interim)/len(interim) {
				t.Errorf("%d interim replies", got)
			}
		})
	}
}

func TestHandOverBehindSeveralHops(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n\r\n"
	p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 103 Early\n\n"+ok),
		tunneltest.ReadHead, tunneltest.Send(ok),
		tunneltest.ReadHead, tunneltest.Send(ok+"hello"), tunneltest.Serve(tunneltest.Echo))
	file, exchanges := handedOver(t, clienttest.Proxied(t, p.Addr(), "second:1", "third:2"), "example.com:22")
	wantEcho(t, file, "hello")
	if len(exchanges) != 3 || len(p.Heads()) != 3 {
		t.Errorf("%d exchanges, %d requests, want 3", len(exchanges), len(p.Heads()))
	}
}

// A socket that is handed over is like a new one, with the options for a session.
func TestHandOverOfEveryFirstHop(t *testing.T) {
	script := []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\nhello"), tunneltest.Serve(tunneltest.Echo)}
	for _, tt := range []struct {
		name, network, address string
		direct                 bool
	}{
		{"proxy", "tcp", "127.0.0.1:0", false},
		{"direct", "tcp", "127.0.0.1:0", true},
		{"unix socket", "unix", filepath.Join(t.TempDir(), "proxy"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, target := &client.Client{}, "example.com:22"
			switch {
			case tt.direct:
				target = tunneltest.Start(t, tunneltest.Greet("hello")).Addr()
			case tt.network == "unix":
				tunneltest.StartProxyOn(t, tt.network, tt.address, script...)
				c = clienttest.Proxied(t, "unix:"+tt.address)
			default:
				c = clienttest.Proxied(t, tunneltest.StartProxyOn(t, tt.network, tt.address, script...).Addr())
			}
			file, _ := handedOver(t, c, target)
			fd := fdOf(t, file)
			if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("flags %x, %v: non-blocking", flags, err)
			}
			if tt.network == "tcp" {
				wantOption(t, fd, "TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY)
				wantOption(t, fd, "SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			}
			wantEcho(t, file, "hello")
		})
	}
}

// fdOf returns the descriptor without changing its flags, as Fd would.
func fdOf(t *testing.T, file syscall.Conn) (fd uintptr) {
	t.Helper()
	raw, err := file.SyscallConn()
	if err = cmp.Or(err, raw.Control(func(own uintptr) { fd = own })); err != nil {
		t.Fatal(err)
	}
	return fd
}

func wantOption(t *testing.T, fd uintptr, name string, level, option int) {
	t.Helper()
	if value, err := unix.GetsockoptInt(int(fd), level, option); value == 0 || err != nil {
		t.Errorf("%s is %d, %v; want it set", name, value, err)
	}
}

// A tunnel that is more than a socket is not handed over, and still works.
func TestHandOverRefusesWhatIsNotBare(t *testing.T) {
	p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\nhello"), tunneltest.Serve(tunneltest.Echo))
	conn, e := clienttest.TryOpen(t, clienttest.Proxied(t, p.Addr()))
	if e != nil {
		t.Fatal(e)
	}
	inMemory, other := net.Pipe()
	defer other.Close()
	for name, conn := range map[string]*client.Conn{"bytes read early": conn, "no socket": {Conn: inMemory}} {
		defer conn.Close()
		ours, theirs := sshSockets(t)
		if err := HandOver(conn, theirs); err != ErrNotBare {
			t.Errorf("%s: got %v, want ErrNotBare", name, err)
		}
		if n, _, err := unix.Recvfrom(int(fdOf(t, ours)), make([]byte, 1), unix.MSG_DONTWAIT); err != unix.EAGAIN {
			t.Errorf("%s: %d bytes were sent, %v", name, n, err)
		}
	}
	testkit.Expect(t, conn, "hello")
}

// A tunnel that could not be handed over still works.
func TestHandOverFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		out  func(t *testing.T) *os.File
		want func(error) bool
	}{
		{"other end gone", func(t *testing.T) *os.File {
			ours, theirs := sshSockets(t)
			ours.Close()
			return theirs
		}, func(err error) bool { return err == ErrOutputClosed }},
		{"no socket", func(t *testing.T) *os.File {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close(); w.Close() })
			return w
		}, func(err error) bool { return errors.Is(err, unix.ENOTSOCK) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := tunneltest.Start(t, tunneltest.Echo)
			conn, err := (&client.Client{KeepUnread: true}).Open(t.Context(), testkit.MustAuthority(t, target.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := HandOver(conn, tt.out(t)); !tt.want(err) {
				t.Errorf("got %v", err)
			}
			flags, err := unix.FcntlInt(fdOf(t, conn.NetConn().(syscall.Conn)), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("flags %x, %v: blocking", flags, err)
			}
			fmt.Fprint(conn, "on")
			testkit.Expect(t, conn, "on")
		})
	}
}

func TestCheckHandOver(t *testing.T) {
	_, pair := sshSockets(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	server := tunneltest.Start(t, tunneltest.Silent)
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tcp, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range []struct {
		name string
		out  *os.File
		ok   bool
	}{
		{"unix socket", pair, true}, {"pipe", w, false}, {"TCP socket", tcp, false}, {"device", null, false},
	} {
		if err := CheckHandOver(tt.out); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
