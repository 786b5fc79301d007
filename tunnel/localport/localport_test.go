package localport

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// serve runs a Server on a free port until the end of the test. Its log goes to the
// buffer.
func serve(t *testing.T, p *Server) (address string, log *logBuffer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), serveOn(t, p, l)
}

func serveOn(t *testing.T, p *Server, l net.Listener) (log *logBuffer) {
	t.Helper()
	log = &logBuffer{}
	p.Log = slog.New(accesslog.NewHandler(log, "text", "info"))
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		p.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return log
}

// answering starts a proxy that gives one answer, and returns its address.
func answering(t *testing.T, reply string) string {
	t.Helper()
	return tunneltest.StartProxy(t, tunneltest.Answer(reply)...).Addr()
}

// exchangeEcho sends text to an echo and expects it back.
func exchangeEcho(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("the echo is %q, %v", got, err)
	}
}

// logBuffer keeps the lines of a log. A test can wait for one.
type logBuffer struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed by the next line
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) wait(t *testing.T, ok func(string) bool) {
	t.Helper()
	limit := time.After(testkit.Patience)
	for {
		b.mu.Lock()
		if ok(b.text.String()) {
			b.mu.Unlock()
			return
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("what is waited for is not in the log:\n%s", b)
		}
	}
}

// along returns a Server.Client for one route.
func along(t *testing.T, route string) func(tunnel.Authority) (*client.Client, error) {
	t.Helper()
	r, err := tunnel.ParseRoute(route)
	if err != nil {
		t.Fatal(err)
	}
	c := &client.Client{Route: r, Timeout: testkit.Patience}
	return func(tunnel.Authority) (*client.Client, error) { return c, nil }
}

func TestServerToOneTarget(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
	target, err := tunnel.ParseTarget(echo.Addr())
	if err != nil {
		t.Fatal(err)
	}
	address, log := serve(t, &Server{Client: along(t, "http://"+proxy.Addr()), Target: target})
	for range 3 {
		conn := testkit.Dial(t, "tcp", address)
		exchangeEcho(t, conn, "over the local port")
		conn.Close()
	}
	log.wait(t, func(s string) bool { return strings.Count(s, `msg="tunnel close"`) == 3 })
	for _, want := range []string{"target=" + echo.Addr(), "via=http://" + proxy.Addr(), "up=19 down=19", "closed_by=client"} {
		if strings.Count(log.String(), want) < 3 {
			t.Errorf("the log has not %q three times:\n%s", want, log.String())
		}
	}
}

func TestServerLogsFailures(t *testing.T) {
	proxy := answering(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	target, _ := tunnel.ParseTarget("target.test:22")
	address, log := serve(t, &Server{Client: along(t, "http://"+proxy), Target: target})
	conn := testkit.Dial(t, "tcp", address)
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
		t.Errorf("the program got %q, %v; want the end", rest, err)
	}
	log.wait(t, func(s string) bool { return strings.Contains(s, "403 Forbidden") })
	if !strings.Contains(log.String(), "error=http_request_denied") {
		t.Errorf("no error in the log: %s", log.String())
	}
}

// Shutdown accepts no connection. An open tunnel ends by itself, or at the limit.
func TestServerDrains(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	target, _ := tunnel.ParseTarget(echo.Addr())
	p := &Server{Client: along(t, "direct"), Target: target}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := serveOn(t, p, l)
	conn := testkit.Dial(t, "tcp", l.Addr().String())
	exchangeEcho(t, conn, "before")
	drained := make(chan struct{})
	go func() { p.Shutdown(t.Context()); close(drained) }()
	testkit.Eventually(t, "the drain has begun", p.isClosed)
	testkit.WantClosed(t, l)
	exchangeEcho(t, conn, "while draining")
	select {
	case <-drained:
		t.Fatal("drained with an open tunnel")
	default:
	}
	conn.Close()
	<-drained
	if !strings.Contains(log.String(), "closed_by=client") {
		t.Error(log.String())
	}
}

func TestServerCutsAtTheLimit(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	target, _ := tunnel.ParseTarget(echo.Addr())
	p := &Server{Client: along(t, "direct"), Target: target}
	address, log := serve(t, p)
	conn := testkit.Dial(t, "tcp", address)
	exchangeEcho(t, conn, "before")
	if p.Open() != 1 {
		t.Errorf("%d are open, want 1", p.Open())
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	p.Shutdown(over)
	if _, err := io.ReadAll(conn); err != nil && !neterr.Reset(err) {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "closed_by=drain") {
		t.Error(log.String())
	}
}

// TestSOCKSServer compares the bytes of SOCKS exchanges.
func TestSOCKSServer(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	_, port, _ := net.SplitHostPort(echo.Addr())
	target, _ := tunnel.ParseTarget("127.0.0.1:" + port)
	p := string([]byte{byte(target.Port() >> 8), byte(target.Port())})
	ok5, ok4 := "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"
	const no5 = "\x00\x01\x00\x00\x00\x00\x00\x00"
	tests := []struct {
		name             string
		greeting, method string // the greeting and its answer
		request          string
		want             string // "" = closed without an answer
		log              string // "" = the tunnel opens
	}{
		{"5 by address", "\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x01\x7f\x00\x00\x01" + p, ok5, ""},
		{"5 by name", "\x05\x02\x02\x00", "\x05\x00", "\x05\x01\x00\x03\x09localhost" + p, ok5, ""},
		{"5 by mapped address", "\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x7f\x00\x00\x01" + p, ok5, ""},
		{"4 by address", "", "", "\x04\x01" + p + "\x7f\x00\x00\x01me\x00", ok4, ""},
		{"4a by name", "", "", "\x04\x01" + p + "\x00\x00\x00\x01\x00localhost\x00", ok4, ""},
		{"5 wants a login", "\x05\x01\x02", "\x05\xff", "", "", "insists on a login"},
		{"5 bind", "\x05\x01\x00", "\x05\x00", "\x05\x02\x00\x01\x7f\x00\x00\x01" + p, "\x05\x07" + no5, "CONNECT only"},
		{"5 odd address", "\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x09", "\x05\x08" + no5, "kind 9"},
		{"5 port 0", "\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", "\x05\x01" + no5, "port"},
		{"5 bad name", "\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x03\x04a\r\nb" + p, "\x05\x01" + no5, "target"},
		{"4 bind", "", "", "\x04\x02" + p + "\x7f\x00\x00\x01\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00", "CONNECT only"},
		{"4 endless user", "", "", "\x04\x01" + p + "\x7f\x00\x00\x01" + strings.Repeat("a", 256), "", "whole"},
		{"HTTP", "", "", "C", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "socks5h://"},
		{"TLS", "", "", "\x16", "", "0x16"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address, log := serve(t, &Server{Client: along(t, "direct")})
			conn := testkit.Dial(t, "tcp", address)
			exchange := func(text, want string) {
				if _, err := io.WriteString(conn, text); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(want))
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
					t.Fatalf("answered %q, %v; want %q", got, err, want)
				}
			}
			exchange(tt.greeting, tt.method)
			if tt.log == "" { // bytes for the target follow at once
				exchange(tt.request+"early", tt.want+"early")
				exchangeEcho(t, conn, "and later")
				return
			}
			exchange(tt.request, tt.want)
			if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil && !neterr.Reset(err) {
				t.Errorf("then %q, %v", rest, err)
			}
			log.wait(t, func(s string) bool { return strings.Contains(s, tt.log) })
		})
	}
}

func TestSOCKSServerAnswersFailures(t *testing.T) {
	dead := tunneltest.Unused(t)
	target, _ := tunnel.ParseTarget(dead)
	tests := []struct {
		name  string
		route string
		code  byte
	}{
		{"refused", "direct", 5},
		{"denied", "http://" + answering(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), 2},
		{"no such target", "http://" + answering(t, "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: p; error=dns_error\r\nContent-Length: 0\r\n\r\n"), 4},
		{"no proxy", "http://" + dead, 1},
		{"credentials", "http://" + answering(t, "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address, _ := serve(t, &Server{Client: along(t, tt.route)})
			conn := testkit.Dial(t, "tcp", address)
			io.WriteString(conn, "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"+string([]byte{byte(target.Port() >> 8), byte(target.Port())}))
			answer, _ := io.ReadAll(conn)
			if want := []byte{5, 0, 5, tt.code, 0, 1, 0, 0, 0, 0, 0, 0}; !bytes.Equal(answer, want) {
				t.Errorf("answered %x, want %x", answer, want)
			}
		})
	}
}

// A program that connects and sends no request is not kept for ever.
func TestSOCKSServerSilence(t *testing.T) {
	address, log := serve(t, &Server{Client: along(t, "direct"), HeaderTimeout: 20 * time.Millisecond})
	conn := testkit.Dial(t, "tcp", address)
	io.WriteString(conn, "\x05\x01")
	// There is a reset if the bytes arrive after the Server has closed the connection.
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil && !neterr.Reset(err) {
		t.Errorf("%q, %v", rest, err)
	}
	log.wait(t, func(s string) bool { return strings.Contains(s, "did not arrive whole") })
}
