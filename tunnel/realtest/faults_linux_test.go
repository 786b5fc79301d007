package realtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// peerEnd is what the surviving side of a tunnel saw.
type peerEnd struct {
	sent, received int64
	err            error // nil for end of file
}

// transfer moves bytes one way until that ends: into conn, or out of it.
func transfer(conn net.Conn, write bool) (e peerEnd) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * bound))
	if write {
		// EPIPE would mean that an orderly end came before the reset.
		e.sent, e.err = pour(conn)
		return e
	}
	e.received, e.err = io.Copy(io.Discard, onlyReader{conn})
	return e
}

// survivor is a target in this process: it says what it saw of its one conn.
func survivor(t *testing.T, write bool) (addr string, end chan peerEnd) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	end = make(chan peerEnd, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			end <- transfer(conn, write)
		}
	}()
	return listener.Addr().String(), end
}

// witness is a tunnel that must not notice what becomes of others.
func witness(t *testing.T, p *proxyProcess) (stillThere func()) {
	t.Helper()
	conn := mustOpen(t, p, tunneltest.Start(t, tunneltest.Echo).Addr())
	stillThere = func() {
		t.Helper()
		if err := talkOnce(conn); err != nil {
			t.Errorf("another tunnel broke: %v", err)
		}
	}
	stillThere()
	return stillThere
}

// warm has serve make what it makes once, with its first tunnel, and returns
// how many descriptors it holds then.
func warm(t *testing.T, p *proxyProcess) int {
	t.Helper()
	echo := tunneltest.Start(t, tunneltest.Echo)
	conn := mustOpen(t, p, echo.Addr())
	if err := talkOnce(conn); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	p.closedTo(echo.Addr())
	return p.held()
}

func mustOpen(t *testing.T, p *proxyProcess, target string) *net.TCPConn {
	t.Helper()
	conn, reply, err := openTunnel(p.addr, target, "")
	if conn == nil {
		t.Fatalf("no tunnel: %q, %v", reply, err)
	}
	conn.SetDeadline(time.Now().Add(3 * bound))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Issue 3, "Faults": a client or target killed by SIGKILL in the middle. The
// kernel closes its socket: by a reset if bytes were still on their way to it,
// else by an end of file, which is passed on and ends both halves here.
func TestKilledPeerEndsItsTunnelOnly(t *testing.T) {
	t.Parallel()
	p := startProxy(t, nil)
	stillThere := witness(t, p)
	base := p.held()
	for _, test := range []struct {
		killed, doing string
		reset         bool
		// kill has a peer killed in the middle, and tells what the other one saw.
		kill func(t *testing.T) (target string, seen peerEnd)
	}{
		{"client", "sending", false, func(t *testing.T) (string, peerEnd) { return killClient(t, p, "push") }},
		{"client", "receiving", true, func(t *testing.T) (string, peerEnd) { return killClient(t, p, "pull") }},
		{"target", "sending", false, func(t *testing.T) (string, peerEnd) { return killTarget(t, p, "source") }},
		{"target", "receiving", true, func(t *testing.T) (string, peerEnd) { return killTarget(t, p, "sink") }},
	} {
		t.Run(test.killed+" while "+test.doing, func(t *testing.T) {
			target, seen := test.kill(t)
			if errors.Is(seen.err, syscall.ECONNRESET) != test.reset || !test.reset && seen.err != nil {
				t.Errorf("the other side saw %v", seen.err)
			}
			r := p.closedTo(target)
			wantError := map[bool]string{true: "connection_terminated"}[test.reset]
			if r.ClosedBy != test.killed || r.Error != wantError {
				t.Errorf("closed_by %q with error %q, want %q with %q", r.ClosedBy, r.Error, test.killed, wantError)
			}
			way, moved := "up", r.Up
			if (test.killed == "client") == (test.doing == "receiving") {
				way, moved = "down", r.Down
			}
			if moved < 1<<20 || r.Up+r.Down != moved || seen.sent > 0 && moved > seen.sent || seen.sent == 0 && moved != seen.received {
				t.Errorf("%s is %d in %+v, and the other side saw %+v", way, moved, r, seen)
			}
			p.returnsTo(base)
			stillThere()
		})
	}
}

func killClient(t *testing.T, p *proxyProcess, doing string) (string, peerEnd) {
	target, end := survivor(t, doing == "pull")
	client := startJob(t, doing, p.addr, target)
	if got := client.line(); got != "moving <nil>" {
		t.Fatal(got)
	}
	client.kill()
	return target, <-end
}

func killTarget(t *testing.T, p *proxyProcess, doing string) (string, peerEnd) {
	server := startJob(t, doing)
	target := server.line()
	conn := mustOpen(t, p, target)
	first := int64(0)
	if doing == "source" {
		first, _ = io.CopyN(io.Discard, conn, 1<<20)
	}
	ends := make(chan peerEnd, 1)
	go func() { ends <- transfer(conn, doing == "sink") }()
	if doing == "sink" {
		if got := server.line(); got != "moving <nil>" {
			t.Fatal(got)
		}
	}
	server.kill()
	end := <-ends
	end.received += first
	return target, end
}

// A reset is passed on as one, from either side, in the middle of bulk.
func TestResetReachesTheOtherSide(t *testing.T) {
	t.Parallel()
	p := startProxy(t, nil)
	stillThere := witness(t, p)
	base := p.held()
	for _, by := range []string{"client", "target"} {
		for _, writing := range []bool{true, false} { // who resets
			t.Run(fmt.Sprint(by, " writing ", writing), func(t *testing.T) {
				cut := func(conn net.Conn) (e peerEnd) {
					if writing {
						conn.Write(make([]byte, 1<<20))
					} else {
						io.CopyN(io.Discard, conn, 1<<20)
					}
					tunneltest.Reset(conn)
					return e
				}
				stay := func(conn net.Conn) peerEnd { return transfer(conn, !writing) }
				atClient, atTarget := cut, stay
				if by == "target" {
					atClient, atTarget = stay, cut
				}
				ends := make(chan peerEnd, 1)
				open := make(chan struct{})
				begin := sync.OnceFunc(func() { close(open) })
				defer begin()
				server := tunneltest.Start(t, func(conn net.Conn) { <-open; ends <- atTarget(conn) })
				conn := mustOpen(t, p, server.Addr()) // before it, a reset may be a failed connect
				begin()
				end := atClient(conn)
				if other := <-ends; by == "client" {
					end = other
				}
				if !errors.Is(end.err, syscall.ECONNRESET) {
					t.Errorf("the other side saw %v", end.err)
				}
				if r := p.closedTo(server.Addr()); r.ClosedBy != by || r.Error != "connection_terminated" {
					t.Errorf("the record is %+v", r)
				}
				p.returnsTo(base)
				stillThere()
			})
		}
	}
}

// stuck is how long the peers of TestZeroWindow take nothing.
func stuck(t *testing.T) time.Duration { return min(loadTime(t, 2*time.Second), time.Minute) }

// Issue 3, "Faults": peers whose window is closed hold up nobody else, and when
// they read at last everything is there.
func TestZeroWindow(t *testing.T) {
	t.Parallel()
	const peers, talkers = 8, 8
	p := startProxy(t, nil)
	base := warm(t, p)
	begin := make(chan struct{})
	size := int64(32 << 20)
	give := func(conn net.Conn) { // more than all buffers on the way take
		io.CopyN(conn, zeroes{}, size)
		tunneltest.CloseWrite(conn)
		io.Copy(io.Discard, onlyReader{conn})
	}
	take := func(conn net.Conn) {
		<-begin
		conn.SetDeadline(time.Now().Add(3 * bound))
		if n, err := io.Copy(io.Discard, onlyReader{conn}); n != size || err != nil {
			t.Errorf("%d bytes arrived in the end, %v", n, err)
		}
	}
	forNow := func(handler tunneltest.Handler) tunneltest.Handler {
		return func(conn net.Conn) { conn.SetDeadline(time.Now().Add(stuck(t) + 3*bound)); handler(conn) }
	}
	givers, takers := tunneltest.Start(t, forNow(give)), tunneltest.Start(t, forNow(take))
	var closed, talking sync.WaitGroup
	for range peers {
		down, up := mustOpen(t, p, givers.Addr()), mustOpen(t, p, takers.Addr())
		up.SetDeadline(time.Now().Add(stuck(t) + 3*bound))
		closed.Go(func() { take(down); down.Close() })
		closed.Go(func() { give(up); up.Close() })
	}
	before := p.memory()
	var over atomic.Bool
	echo := tunneltest.Start(t, forNow(tunneltest.Echo))
	for range talkers {
		conn := mustOpen(t, p, echo.Addr())
		talking.Go(func() {
			rounds := 0
			for ; !over.Load(); rounds++ {
				if err := talkOnce(conn); err != nil {
					t.Error(err)
					return
				}
			}
			conn.Close()
			if rounds == 0 {
				t.Error("a tunnel was held up")
			}
		})
	}
	time.Sleep(stuck(t))
	over.Store(true)
	talking.Wait()
	if grown := p.memory() - before; grown > 2*peers<<20 {
		t.Errorf("serve holds %d bytes more for %d peers that do not read", grown, 2*peers)
	}
	close(begin)
	closed.Wait()
	p.returnsTo(base)
	for _, r := range p.records("tunnel close") {
		if r.Error != "" || r.Target == givers.Addr() && r.Down != size || r.Target == takers.Addr() && r.Up != size {
			t.Errorf("%+v", r)
		}
	}
	p.end()
}

// zeroes is a source without end.
type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { return len(b), nil }

// Issue 3, "Faults": a target that does not answer holds nobody up.
func TestSlowTargetHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const slow, quick = 100, 300
	p := startProxy(t, nil, "--connect-timeout", "2m")
	target, unblock := deaf(t)
	asked := make([]net.Conn, slow)
	for i := range asked {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(3 * bound))
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		asked[i] = conn
	}
	crowd := startJob(t, "crowd", p.addr, startJob(t, "echo").line())
	if n, _ := crowd.crowd("open %d 32", quick); n != quick {
		t.Errorf("%d of %d tunnels opened", n, quick)
	}
	crowd.crowd("close %d", quick)
	if n := len(p.records("request")); n > 0 {
		t.Errorf("%d of those that wait were answered: the test tests nothing", n)
	}
	unblock()
	for _, conn := range asked {
		if text, err := io.ReadAll(conn); err != nil || len(text) == 0 {
			t.Errorf("the answer is %q, %v", text, err)
		}
	}
	for _, r := range p.records("request") {
		if r.Status != 502 || r.Error != "connection_refused" {
			t.Errorf("%+v", r)
		}
	}
	p.end()
}
