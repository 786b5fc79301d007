package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/listen"
	"culvert/tunnel/tunneltest"
)

func TestConnectRelaysAndRecords(t *testing.T) {
	ts := startServer(t, &Server{Verifier: proxytest.OneUser{User: "alice", Password: "secret"}})
	echo := tunneltest.Start(t, tunneltest.Echo)
	conn := ts.Open(echo.Addr(), testkit.Basic("alice", "secret"))
	opened := ts.NextRecord(accesslog.EventOpen)
	opened.Want(t, "target", echo.Addr())
	opened.WantAbsent(t, "up", "down", "duration_ms", "closed_by", "error")
	testkit.Send(t, conn, "hello")
	testkit.HalfClose(t, conn)
	testkit.ExpectLast(t, conn, "hello")
	closed := ts.NextRecord(accesslog.EventClose)
	for key, value := range map[string]string{
		"level": "INFO", "client": conn.LocalAddr().String(), "user": "alice", "listener": "http://" + ts.Addr, "protocol": "http/1.1",
		"method": "CONNECT", "target": echo.Addr(), "addr": echo.Addr(), "rule": "allow *:*", "closed_by": "client", "id": opened.Text("id"),
	} {
		closed.Want(t, key, value)
	}
	for key, value := range map[string]int{"status": 200, "up": 5, "down": 5} {
		closed.WantNumber(t, key, value)
	}
	closed.WantAbsent(t, "error", "via")
	if ms, _ := closed["connect_ms"].(float64); ms <= 0 {
		t.Errorf("connect_ms is %v", closed["connect_ms"])
	}
	if ms, _ := closed["duration_ms"].(float64); ms <= 0 {
		t.Errorf("duration_ms is %v", closed["duration_ms"])
	}
}

// The target is a host and a port, in no other form (RFC 9110, section 9.3.6).
func TestConnectTargetIsAuthorityForm(t *testing.T) {
	ts := startServer(t, &Server{Resolver: testkit.NeverResolve(t)})
	for _, target := range []string{
		"example.test", "example.test:", "example.test:0", "example.test:00", "example.test:65536", "example.test:4294967739",
		"example.test:18446744073709551659", "example.test:-443", "example.test:+443", "example.test:0x1bb", "example.test:443a",
		"example.test:https", "user@example.test:443", "user:secret@example.test:443", "@example.test:443", "example.test:443/",
		"example.test:443?q", "example.test:443#f", "/", "*", "http://example.test:443", "http://example.test/", "//example.test:443",
		":443", "[]:443", "[example.test]:443", "[127.0.0.1]:443", "[::1:443", "::1]:443", "[::1]443", "[::1]", "[[::1]]:443", "::1:443",
		"[::1%25lo]:443", "[::1%lo]:443", "example.test:443:443", "example..test:443", ".example.test:443", "exa%6dple.test:443",
		"example.test\\:443", "exa,mple.test:443", "example.test:443,other.test:443", strings.Repeat("a", 64) + ".test:443",
		strings.Repeat("a.", 127) + "test:443", strings.Repeat("a", 600) + ":443",
		// Literals that only a lenient resolver accepts as addresses.
		"2130706433:443", "0x7f000001:443", "017700000001:443", "127.1:443", "127.0.1:443", "0x7f.0.0.1:443", "0177.0.0.1:443",
		"127.0.0.01:443", "127.0.0.1.2:443", "256.0.0.1:443", "127.0.0.0x1:443", "1.2.3.4.:443x", "example.0x7f:443",
	} {
		t.Run(target, func(t *testing.T) {
			ts := ts.in(t)
			ts.Refused("CONNECT "+target+" HTTP/1.1\r\nHost: example.test\r\n\r\n", 400, "http_request_error")
		})
	}
}

// RFC 9112, sections 2.2 to 5: a malformed head is answered by 400.
func TestConnectMalformedHead(t *testing.T) {
	ts := startServer(t, &Server{Resolver: testkit.NeverResolve(t)})
	const line = "CONNECT example.test:443 HTTP/1.1\r\n"
	for _, tt := range []struct{ name, head string }{
		{"space in the target", "CONNECT example.test :443 HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"two spaces before the target", "CONNECT  example.test:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"tab for a space", "CONNECT\texample.test:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"no target", "CONNECT HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"empty target", "CONNECT  HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"no version", "CONNECT example.test:443\r\nHost: a\r\n\r\n"},
		{"non-ASCII byte in the target", "CONNECT ex\xe4mple.test:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"NUL in the target", "CONNECT example.test\x00:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"control character in the target", "CONNECT exam\x1bple.test:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"method in lower case", "connect example.test:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"two empty lines first", "\r\n\r\n" + line + "Host: a\r\n\r\n"},
		{"lone LF after the request line", "CONNECT example.test:443 HTTP/1.1\nHost: a\r\n\r\n"},
		{"lone LF after a field", line + "Host: a\nX: b\r\n\r\n"},
		{"lone LF for the blank line", line + "Host: a\r\n\n"},
		{"CR LF for the blank line after lone LFs", "CONNECT example.test:443 HTTP/1.1\nHost: a\n\r\n"},
		{"bare CR in a field", line + "Host: a\rX: b\r\n\r\n"},
		{"bare CR in the request line", "CONNECT example.test:443\r HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"NUL in a field", line + "Host: a\r\nX: \x00\r\n\r\n"},
		{"whitespace before a colon", line + "Host : a\r\n\r\n"},
		{"obs-fold", line + "Host: a\r\nX: b\r\n c\r\n\r\n"},
		{"whitespace before the first field", line + " X: b\r\nHost: a\r\n\r\n"},
		{"no colon", line + "Host: a\r\nX\r\n\r\n"},
		{"empty field name", line + "Host: a\r\n: b\r\n\r\n"},
		// RFC 9112, section 3.2.
		{"Host missing in 1.1", line + "\r\n"},
		{"Host twice", line + "Host: example.test:443\r\nHost: example.test:443\r\n\r\n"},
		{"Host twice in 1.0", "CONNECT example.test:443 HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"},
		{"Host a list", line + "Host: a, b\r\n\r\n"},
		{"Host with userinfo", line + "Host: u@a\r\n\r\n"},
		{"Host with a path", line + "Host: a/b\r\n\r\n"},
		{"Host with bad brackets", line + "Host: [::1\r\n\r\n"},
		{"Host with a bad port", line + "Host: a:99999\r\n\r\n"},
		{"Host invalid in 1.0", "CONNECT example.test:443 HTTP/1.0\r\nHost: a b\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := ts.in(t)
			ts.Refused(tt.head, 400, "http_request_error")
		})
	}
}

// A CONNECT has no content (RFC 9110, section 9.3.6): one that announces some is refused.
func TestConnectHasNoContent(t *testing.T) {
	ts := startServer(t, &Server{Resolver: testkit.NeverResolve(t)})
	for _, tt := range []struct{ name, fields, content string }{
		{"Content-Length", "Content-Length: 5\r\n", "hello"},
		{"chunked", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"},
		{"another coding", "Transfer-Encoding: gzip\r\n", ""},
		{"identity", "Transfer-Encoding: identity\r\n", ""},
		{"empty coding", "Transfer-Encoding:\r\n", ""},
		{"both", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
		{"both, the length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
		{"differing lengths", "Content-Length: 0\r\nContent-Length: 5\r\n", "hello"},
		{"negative length", "Content-Length: -1\r\n", ""},
		{"length beyond 64 bits", "Content-Length: 18446744073709551616\r\n", ""},
		{"length no number", "Content-Length: a\r\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := ts.in(t)
			ts.Refused("CONNECT example.test:443 HTTP/1.1\r\nHost: a\r\n"+tt.fields+"\r\n"+tt.content, 400, "http_request_error")
		})
	}
}

// Heads that are unusual and accepted.
func TestConnectAcceptedHeads(t *testing.T) {
	ts := startServer(t, &Server{Resolver: testkit.ResolveTo("127.0.0.1")})
	echo := tunneltest.Start(t, tunneltest.Echo)
	port := echo.Port()
	ipv6, err := tunneltest.Listen("tcp", "[::1]:0", tunneltest.Echo)
	heads := []struct{ name, head string }{
		{"HTTP/1.0 without Host", "CONNECT " + echo.Addr() + " HTTP/1.0\r\n\r\n"},
		{"a later minor version", "CONNECT " + echo.Addr() + " HTTP/1.7\r\nHost: a\r\n\r\n"},
		{"lone LFs only", "CONNECT " + echo.Addr() + " HTTP/1.1\nHost: a\n\n"},
		{"lone LFs only in 1.0", "CONNECT " + echo.Addr() + " HTTP/1.0\n\n"},
		{"an empty line first", "\r\nCONNECT " + echo.Addr() + " HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"another Host", "CONNECT " + echo.Addr() + " HTTP/1.1\r\nHost: elsewhere.test:80\r\n\r\n"},
		{"an empty Host", "CONNECT " + echo.Addr() + " HTTP/1.1\r\nHost:\r\n\r\n"},
		{"Content-Length 0", "CONNECT " + echo.Addr() + " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"},
		{"Connection: close", "CONNECT " + echo.Addr() + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nProxy-Connection: close\r\n\r\n"},
		{"Expect", "CONNECT " + echo.Addr() + " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"},
		{"a name", proxytest.ConnectHead("example.test:" + port)},
		{"a name in capitals with a root dot", proxytest.ConnectHead("EXAMPLE.Test.:" + port)},
		{"a name with an underscore", proxytest.ConnectHead("_a--b.example.test:" + port)},
		{"a port with leading zeros", proxytest.ConnectHead("127.0.0.1:" + strings.Repeat("0", 5-len(port)) + port)},
		{"IPv4-mapped IPv6", proxytest.ConnectHead("[::ffff:127.0.0.1]:" + port)},
		{"a long head", proxytest.ConnectHead(echo.Addr(), "X: "+strings.Repeat("x", 60<<10))},
	}
	if err == nil { // otherwise this machine has no IPv6
		defer ipv6.Close()
		heads = append(heads, struct{ name, head string }{"IPv6", proxytest.ConnectHead(ipv6.Addr())})
	}
	for _, tt := range heads {
		t.Run(tt.name, func(t *testing.T) {
			conn := testkit.Dial(t, "tcp", ts.Addr)
			testkit.Send(t, conn, tt.head)
			testkit.Expect(t, conn, established)
			testkit.Send(t, conn, "hello")
			testkit.HalfClose(t, conn)
			testkit.ExpectLast(t, conn, "hello")
		})
	}
}

func TestConnectHeadByteByByte(t *testing.T) {
	ts := startServer(t, &Server{})
	echo := tunneltest.Start(t, tunneltest.Echo)
	conn := ts.Dial()
	for _, b := range []byte(proxytest.ConnectHead(echo.Addr()) + "hello") {
		testkit.Send(t, conn, string(b))
	}
	testkit.Expect(t, conn, established+"hello")
}

// Some servers, such as net/http's, hold a reply back until there is a body.
func TestConnect2xxIsSentBeforeTheTargetSpeaks(t *testing.T) {
	ts := startServer(t, &Server{})
	silent := tunneltest.Start(t, tunneltest.Silent)
	conn := ts.Open(silent.Addr()) // reads exactly the head
	testkit.HalfClose(t, conn)
	testkit.ExpectLast(t, conn, "") // nothing came behind the blank line
}

// RFC 9110, section 9.3.6: a 2xx to CONNECT has no Content-Length and no Transfer-Encoding.
func TestConnect2xxHasNoFramingFields(t *testing.T) {
	if want := "HTTP/1.1 200 Connection established\r\n\r\n"; established != want {
		t.Errorf("the 2xx is %q, want %q", established, want)
	}
}

func TestConnectServerFirstTarget(t *testing.T) {
	ts := startServer(t, &Server{})
	greeter := tunneltest.Start(t, tunneltest.Greet("SSH-2.0-test\r\n"))
	conn := ts.Open(greeter.Addr())
	testkit.Expect(t, conn, "SSH-2.0-test\r\n")
	testkit.Send(t, conn, "back")
	testkit.Expect(t, conn, "back")
}

// Bytes behind the head wait for the 2xx, and are then the first that the target gets.
func TestConnectEarlyBytesGoFirst(t *testing.T) {
	for _, size := range []int{1, 4096, 100 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			resolver, asked, release := testkit.ResolveLate()
			ts := startServer(t, &Server{Resolver: resolver})
			target, got := testkit.Collect(t)
			early := strings.Repeat("e", size)
			conn := ts.Dial()
			testkit.Send(t, conn, proxytest.ConnectHead("example.test:"+target.Port())+early)
			testkit.Await(t, "the resolver", asked)
			close(release)
			testkit.Expect(t, conn, established)
			testkit.Send(t, conn, "later")
			testkit.HalfClose(t, conn)
			testkit.ExpectLast(t, conn, "")
			if all := testkit.Receive(t, "the target", got); all != early+"later" {
				t.Errorf("the target got %d bytes, %.20q…, want %d", len(all), all, size+5)
			}
			ts.NextRecord(accesslog.EventClose).WantNumber(t, "up", size+5)
		})
	}
}

// A request may end with the client's half-close.
func TestConnectHalfCloseBehindTheHead(t *testing.T) {
	ts := startServer(t, &Server{})
	counter := tunneltest.Start(t, tunneltest.Count)
	conn := ts.Dial()
	testkit.Send(t, conn, proxytest.ConnectHead(counter.Addr())+"hello")
	testkit.HalfClose(t, conn)
	testkit.ExpectLast(t, conn, established+"5 bytes\n")
	ts.NextRecord(accesslog.EventClose).Want(t, "closed_by", "client")
}

func TestConnectBehindPlainRequest(t *testing.T) {
	ts := startServer(t, &Server{})
	origin := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 204 No Content\r\n\r\n"), tunneltest.Hold)
	echo := tunneltest.Start(t, tunneltest.Echo)
	conn := ts.Dial()
	testkit.Send(t, conn, "GET http://"+origin.Addr()+"/ HTTP/1.1\r\nHost: a\r\n\r\n"+proxytest.ConnectHead(echo.Addr())+"early")
	ts.NextRecord(accesslog.EventRequest).WantNumber(t, "status", 204)
	ts.NextRecord(accesslog.EventOpen)
	testkit.HalfClose(t, conn)
	reply := make([]byte, 0, 1024)
	for !strings.HasSuffix(string(reply), established+"early") {
		b := make([]byte, 256)
		n, err := conn.Read(b)
		if reply = append(reply, b[:n]...); err != nil {
			t.Fatalf("read %q and then %v, want the 2xx and the echo at its end", reply, err)
		}
	}
}

// No deadline may be left when the tunnel is open.
func TestConnectLeavesNoDeadline(t *testing.T) {
	given := make(chan net.Conn, 1)
	l := &wrappingListener{Listener: testkit.Listen(t, "127.0.0.1:0"), wrap: func(conn net.Conn) net.Conn {
		watched := &deadlineConn{Conn: conn}
		given <- watched
		return watched
	}}
	ts := startServerOn(t, &Server{HeaderTimeout: time.Hour, ConnectTimeout: time.Hour}, l)
	echo := tunneltest.Start(t, tunneltest.Echo)
	conn := ts.Open(echo.Addr())
	testkit.Send(t, conn, "hello")
	testkit.Expect(t, conn, "hello")
	watched := (<-given).(*deadlineConn)
	if read, write := watched.read.Load(), watched.write.Load(); read != 0 || write != 0 {
		t.Errorf("the open tunnel has deadlines (nanoseconds): read %d, write %d", read, write)
	}
}

// wrappingListener wraps the conns that it accepts.
type wrappingListener struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l *wrappingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(conn), nil
}

// deadlineConn remembers its deadlines; 0 = none.
type deadlineConn struct {
	net.Conn
	read, write atomic.Int64
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func (c *deadlineConn) SetDeadline(t time.Time) error {
	c.read.Store(nanoseconds(t))
	c.write.Store(nanoseconds(t))
	return c.Conn.SetDeadline(t)
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	c.read.Store(nanoseconds(t))
	return c.Conn.SetReadDeadline(t)
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	c.write.Store(nanoseconds(t))
	return c.Conn.SetWriteDeadline(t)
}

// A listener whose Accept fails for a while must not be given up.
func TestIsTemporary(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}, true},
		{&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ENOBUFS)}, true},
		{&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ECONNABORTED)}, true},
		{&net.OpError{Op: "accept", Err: net.ErrClosed}, false},
		{errors.New("anything"), false},
	} {
		if got := listen.Temporary(tt.err); got != tt.want {
			t.Errorf("isTemporary(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}
