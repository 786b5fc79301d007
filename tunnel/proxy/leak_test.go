package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/leak"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// IdleDescriptors starts the server's event loops, which would otherwise start with the
// first tunnel, and counts the descriptors that idle pipes keep open.
func (ts *testServer) idleDescriptors() func() int {
	loops := &ts.server.run.loops
	loops.Run()
	return func() int { return sock.IdleDescriptors() + loops.IdleDescriptors() }
}

// wantNothingLeft waits until a server that keeps running has released all that its
// clients made it hold.
func (ts *testServer) wantNothingLeft(before leak.Resources) {
	ts.Helper()
	testkit.Eventually(ts, "no connection and no relay is registered", func() bool {
		ts.server.run.mu.Lock()
		defer ts.server.run.mu.Unlock()
		return len(ts.server.run.conns) == 0 && len(ts.server.run.relays) == 0
	})
	// A slot is released just after its relay is removed, and just before the record
	// is written.
	testkit.Eventually(ts, "no slot is taken", func() bool { return ts.server.Open() == 0 })
	// A worker becomes idle only after its connection is removed.
	idle := func() int {
		ts.server.run.workers.mu.Lock()
		defer ts.server.run.workers.mu.Unlock()
		return len(ts.server.run.workers.idle)
	}
	if left := before.AwaitReturn(idle); left != "" {
		ts.Error(left)
	}
}

// Issue 2, "Bad input": connections that send nothing, half a head, or garbage leave no
// goroutine and no descriptor behind.
func TestThousandUselessConnectionsLeaveNothing(t *testing.T) {
	const most = 1000
	ts := startServer(t, &Server{HeaderTimeout: 300 * time.Millisecond})
	before := leak.InUse(ts.idleDescriptors())
	conns := make([]net.Conn, 0, most)
	for i := range most {
		conn, err := net.Dial("tcp", ts.Addr)
		if err != nil && i >= 100 {
			t.Logf("%d connections are all this machine gives: %v", i, err)
			break
		} else if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(testkit.Patience))
		conns = append(conns, conn)
		switch i % 8 {
		case 0: // nothing
		case 1:
			io.WriteString(conn, "CONNECT example.test:443 HTTP/1.1\r\nHost: ")
		case 2:
			io.WriteString(conn, "\x16\x03\x01\x00\x05garbage"+strings.Repeat("\x00", 3000))
		case 3:
			io.WriteString(conn, strings.Repeat("x", 70<<10))
		case 4:
			io.WriteString(conn, "POST http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
		case 5:
			testkit.HalfClose(t, conn)
		case 6:
			testkit.Reset(conn)
		case 7:
			io.WriteString(conn, "CONNECT ")
			conn.Close()
		}
	}
	for _, conn := range conns { // the server ends each on its own
		io.Copy(io.Discard, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
	ts.wantNothingLeft(before)
}

// blockingVerifier is a Verifier that answers once it is released.
type blockingVerifier struct {
	asked, release chan struct{}
}

func (v blockingVerifier) Verify(string, string) bool {
	v.asked <- struct{}{}
	<-v.release
	return true
}

// Issue 2, "Bad input": a client that vanishes leaves nothing behind, at whichever stage
// of the spine.
func TestClientThatVanishesLeavesNothing(t *testing.T) {
	const clients = 8
	echo := tunneltest.Start(t, tunneltest.Echo)
	stages := []struct {
		name string
		// begin makes a server, and returns what a client sends to reach the stage, a
		// wait until one has reached it, and what ends the stage.
		begin func(t *testing.T) (ts *testServer, request string, there func(conn net.Conn), release func())
	}{
		{"before the head", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			return startServer(t, &Server{HeaderTimeout: time.Hour}), "", nil, nil
		}},
		{"within the head", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			return startServer(t, &Server{HeaderTimeout: time.Hour}), "CONNECT a:1 HTTP/1.1\r\nHo", nil, nil
		}},
		{"behind a refused head", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			return startServer(t, &Server{}), "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n", nil, nil
		}},
		{"while it is verified", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			v := blockingVerifier{make(chan struct{}, clients), make(chan struct{})}
			ts := startServer(t, &Server{Verifier: v})
			var first sync.Once // the others wait for their turn
			there := func(net.Conn) { first.Do(func() { testkit.Receive(t, "the verifier", v.asked) }) }
			return ts, proxytest.ConnectHead(echo.Addr(), testkit.Basic("a", "b")), there, func() { close(v.release) }
		}},
		{"while its name is resolved", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			resolver, asked, release := testkit.ResolveLate()
			ts := startServer(t, &Server{Resolver: resolver})
			return ts, proxytest.ConnectHead("a.test:" + echo.Port()), func(net.Conn) { testkit.Await(t, "the resolver", asked) }, func() { close(release) }
		}},
		{"while the parent thinks", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			asked, release := make(chan struct{}, clients), make(chan struct{})
			parent := tunneltest.StartProxy(t, tunneltest.ReadHead, func(*tunneltest.Turn) bool { asked <- struct{}{}; return true },
				tunneltest.Wait(release), tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(tunneltest.Echo))
			ts := startServer(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, parent.Addr())}}})
			return ts, proxytest.ConnectHead("a.test:443"), func(net.Conn) { testkit.Receive(t, "the parent", asked) }, func() { close(release) }
		}},
		{"in the tunnel", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			return startServer(t, &Server{}), proxytest.ConnectHead(echo.Addr()) + "hello", func(conn net.Conn) { testkit.Expect(t, conn, established+"hello") }, nil
		}},
		{"in a tunnel that is full", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			silent := tunneltest.Start(t, func(conn net.Conn) { io.Copy(conn, testkit.Endless{}) })
			return startServer(t, &Server{}), proxytest.ConnectHead(silent.Addr()), func(conn net.Conn) { testkit.Expect(t, conn, established) }, nil
		}},
	}
	leaves := map[string]func(net.Conn){
		"closes":      func(conn net.Conn) { conn.Close() },
		"resets":      testkit.Reset,
		"half-closes": func(conn net.Conn) { conn.(sock.HalfCloser).CloseWrite() },
	}
	for _, stage := range stages {
		for how, leave := range leaves {
			if how == "half-closes" && stage.name == "in a tunnel that is full" {
				continue // the target sends for ever, as it should
			}
			t.Run(stage.name+" "+how, func(t *testing.T) {
				ts, request, there, release := stage.begin(t)
				before := leak.InUse(ts.idleDescriptors())
				var conns []net.Conn
				for range clients {
					conn, err := net.Dial("tcp", ts.Addr)
					if err != nil {
						t.Fatal(err)
					}
					conn.SetDeadline(time.Now().Add(testkit.Patience))
					conns = append(conns, conn)
					testkit.Send(t, conn, request)
					if there != nil {
						there(conn)
					}
					leave(conn)
				}
				if release != nil {
					release()
				}
				if how == "half-closes" {
					for _, conn := range conns {
						if _, err := io.Copy(io.Discard, conn); err != nil {
							t.Errorf("a client that half-closed ends with %v", err)
						}
						conn.Close()
					}
				}
				ts.wantNothingLeft(before)
			})
		}
	}
}

// An open tunnel does not keep its request's head in memory: heads may be large, and may
// have secrets.
func TestOpenTunnelKeepsNoHead(t *testing.T) {
	const tunnels, head = 50, 60 << 10
	ts := startServer(t, &Server{Resolver: testkit.ResolveTo("127.0.0.1")})
	silent := tunneltest.Start(t, tunneltest.Silent)
	long := proxytest.ConnectHead("a.test:"+silent.Port(), "X: "+strings.Repeat("x", head))
	ts.Open(silent.Addr()) // so that all that is made once is made
	before := testkit.GoMemory()
	for range tunnels {
		conn := ts.Dial()
		testkit.Send(t, conn, long)
		testkit.Expect(t, conn, established)
		ts.NextRecord(accesslog.EventOpen)
	}
	testkit.Eventually(t, "the connections are off the books", func() bool {
		ts.server.run.mu.Lock()
		defer ts.server.run.mu.Unlock()
		return len(ts.server.run.conns) == 0
	})
	if per := (testkit.GoMemory() - before) / tunnels; per > head/2 {
		t.Errorf("%d bytes per tunnel: it keeps its head of %d bytes", per, head)
	}
}

// Serve tries again after a temporary failure of Accept.
func TestServeRidesOutATemporaryFailure(t *testing.T) {
	accept := func(errno syscall.Errno) error {
		return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
	}
	l := &failingListener{Listener: testkit.Listen(t, "127.0.0.1:0"), failures: []error{accept(syscall.EMFILE), accept(syscall.ENFILE), accept(syscall.ENOBUFS)}}
	ts := startServerOn(t, &Server{Resolver: testkit.FailToResolve(testkit.NoSuchName)}, l)
	ts.Refused(proxytest.ConnectHead("a.test:443"), 502, "dns_error")
}

func TestServeEndsWithItsListener(t *testing.T) {
	broken := errors.New("broken for good")
	l := &failingListener{Listener: testkit.Listen(t, "127.0.0.1:0"), failures: []error{broken}}
	s := &Server{}
	if err := s.Serve(l); err != broken {
		t.Errorf("Serve returned %v, want %v", err, broken)
	}
	testkit.WantClosed(t, l)
	s.Close()
}

// failingListener fails before it accepts.
type failingListener struct {
	net.Listener
	failures []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	if len(l.failures) > 0 {
		err := l.failures[0]
		l.failures = l.failures[1:]
		return nil, err
	}
	return l.Listener.Accept()
}
