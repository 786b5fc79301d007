package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/internal/leak"
	"culvert/tunnel/tunneltest"
)

// idleDescriptors starts the server's loops, which would otherwise start with the
// first tunnel, and counts the descriptors that idle pipes keep open.
func (ts *testServer) idleDescriptors() func() int {
	loops := &ts.server.run.loops
	loops.run()
	return func() int { return idleDescriptors() + loops.idleDescriptors() }
}

// wantNothingLeft waits until a server that goes on running has let go of
// everything its clients had it take.
func (ts *testServer) wantNothingLeft(before leak.Resources) {
	ts.Helper()
	eventually(ts, "no connection is on the books", func() bool {
		ts.server.run.mu.Lock()
		defer ts.server.run.mu.Unlock()
		return len(ts.server.run.conns) == 0 && len(ts.server.run.relays) == 0
	})
	// A slot is given back just after its relay is off the books, and just
	// before the record is written.
	eventually(ts, "no slot is taken", func() bool { return ts.server.Open() == 0 })
	// A worker rests only after its connection is off the books.
	idle := func() int {
		ts.server.run.workers.mu.Lock()
		defer ts.server.run.workers.mu.Unlock()
		return len(ts.server.run.workers.idle)
	}
	if left := before.AwaitReturn(idle); left != "" {
		ts.Error(left)
	}
}

// Issue 2, "Bad input": connections that send nothing, half a head, or garbage
// leave no goroutine and no descriptor behind.
func TestThousandUselessConnectionsLeaveNothing(t *testing.T) {
	const most = 1000
	ts := startServer(t, &Server{HeaderTimeout: 300 * time.Millisecond})
	before := leak.InUse(ts.idleDescriptors())
	conns := make([]net.Conn, 0, most)
	for i := range most {
		conn, err := net.Dial("tcp", ts.addr)
		if err != nil && i >= 100 {
			t.Logf("%d connections are all this machine gives: %v", i, err)
			break
		} else if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(testPatience))
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
			halfClose(t, conn)
		case 6:
			reset(conn)
		case 7:
			io.WriteString(conn, "CONNECT ")
			conn.Close()
		}
	}
	for _, conn := range conns { // the server ends each by itself
		io.Copy(io.Discard, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
	ts.wantNothingLeft(before)
}

// blockingVerifier is one whose verdict takes until it is released.
type blockingVerifier struct {
	asked, release chan struct{}
}

func (v blockingVerifier) Verify(string, string) bool {
	v.asked <- struct{}{}
	<-v.release
	return true
}

// Issue 2, "Bad input": a client that vanishes at each stage of the spine leaves
// nothing behind.
func TestClientThatVanishesLeavesNothing(t *testing.T) {
	const clients = 8
	echo := tunneltest.Start(t, tunneltest.Echo)
	stages := []struct {
		name string
		// begin makes a server on which clients come to the stage: what they
		// send, a wait until one is there, and what lets the stage end.
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
			return ts, connectHead(echo.Addr(), basic("a", "b")), func(net.Conn) { receive(t, "the verifier", v.asked) }, func() { close(v.release) }
		}},
		{"while its name is resolved", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			resolver, asked, release := resolveLate()
			ts := startServer(t, &Server{Resolver: resolver})
			return ts, connectHead("a.test:" + echo.Port()), func(net.Conn) { await(t, "the resolver", asked) }, func() { close(release) }
		}},
		{"while the parent thinks", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			asked, release := make(chan struct{}, clients), make(chan struct{})
			parent := tunneltest.StartProxy(t, tunneltest.ReadHead, func(*tunneltest.Turn) bool { asked <- struct{}{}; return true },
				tunneltest.Wait(release), tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Be(tunneltest.Echo))
			ts := startServer(t, &Server{Via: []ViaRule{{Route: mustRoute(t, parent.Addr())}}})
			return ts, connectHead("a.test:443"), func(net.Conn) { receive(t, "the parent", asked) }, func() { close(release) }
		}},
		{"in the tunnel", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			return startServer(t, &Server{}), connectHead(echo.Addr()) + "hello", func(conn net.Conn) { expect(t, conn, established+"hello") }, nil
		}},
		{"in a tunnel that is full", func(t *testing.T) (*testServer, string, func(net.Conn), func()) {
			silent := tunneltest.Start(t, func(conn net.Conn) { io.Copy(conn, endless{}) })
			return startServer(t, &Server{}), connectHead(silent.Addr()), func(conn net.Conn) { expect(t, conn, established) }, nil
		}},
	}
	leaves := map[string]func(net.Conn){
		"closes":      func(conn net.Conn) { conn.Close() },
		"resets":      reset,
		"half-closes": func(conn net.Conn) { conn.(halfCloser).CloseWrite() },
	}
	for _, stage := range stages {
		for how, leave := range leaves {
			if how == "half-closes" && stage.name == "in a tunnel that is full" {
				continue // the target goes on for ever, and rightly so
			}
			t.Run(stage.name+" "+how, func(t *testing.T) {
				ts, request, there, release := stage.begin(t)
				before := leak.InUse(ts.idleDescriptors())
				var conns []net.Conn
				for range clients {
					conn, err := net.Dial("tcp", ts.addr)
					if err != nil {
						t.Fatal(err)
					}
					conn.SetDeadline(time.Now().Add(testPatience))
					conns = append(conns, conn)
					send(t, conn, request)
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

// A tunnel keeps nothing of its request: heads may be large, and hold secrets.
func TestOpenTunnelKeepsNoHead(t *testing.T) {
	const tunnels, head = 50, 60 << 10
	ts := startServer(t, &Server{Resolver: resolveTo("127.0.0.1")})
	silent := tunneltest.Start(t, tunneltest.Silent)
	long := connectHead("a.test:"+silent.Port(), "X: "+strings.Repeat("x", head))
	ts.open(silent.Addr()) // what is made once
	before := goMemory()
	for range tunnels {
		conn := ts.dial()
		send(t, conn, long)
		expect(t, conn, established)
		ts.record(eventOpen)
	}
	eventually(t, "the connections are off the books", func() bool {
		ts.server.run.mu.Lock()
		defer ts.server.run.mu.Unlock()
		return len(ts.server.run.conns) == 0
	})
	if per := (goMemory() - before) / tunnels; per > head/2 {
		t.Errorf("%d bytes per tunnel: it keeps its head of %d bytes", per, head)
	}
}

// What a listener's accept does when it fails.
func TestServeRidesOutATemporaryFailure(t *testing.T) {
	accept := func(errno syscall.Errno) error {
		return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
	}
	l := &failingListener{Listener: listenOn(t, "127.0.0.1:0"), failures: []error{accept(syscall.EMFILE), accept(syscall.ENFILE), accept(syscall.ENOBUFS)}}
	ts := startServerOn(t, &Server{Resolver: failToResolve(noSuchName)}, l)
	ts.refused(connectHead("a.test:443"), 502, "dns_error")
}

func TestServeEndsWithItsListener(t *testing.T) {
	broken := errors.New("broken for good")
	l := &failingListener{Listener: listenOn(t, "127.0.0.1:0"), failures: []error{broken}}
	s := &Server{}
	if err := s.Serve(l); err != broken {
		t.Errorf("Serve returned %v, want %v", err, broken)
	}
	wantClosed(t, l)
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
