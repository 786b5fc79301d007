//go:build linux

package splice

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait. None takes as long unless the test fails.
const patience = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(peersEnv) != "" {
		os.Exit(runPeers())
	}
	// The runtime opens descriptors of its own at the first use of the network.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	code := m.Run()
	for until := time.Now().Add(patience); code == 0 && (runtime.NumGoroutine() > goroutines || openDescriptors() > descriptors); {
		if time.Now().After(until) {
			fmt.Printf("left behind: %d goroutines and %d descriptors\n", runtime.NumGoroutine()-goroutines, openDescriptors()-descriptors)
			code = 1
		}
		time.Sleep(time.Millisecond)
	}
	os.Exit(code)
}

// openDescriptors counts the open descriptors of this process.
func openDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// far is the end of a connection that the test has.
type far interface {
	net.Conn
	CloseWrite() error
	SyscallConn() (syscall.RawConn, error)
}

// kind is a kind of connection. pair makes two ends of one: near is for the loop.
type kind struct {
	name string
	pair func(testing.TB) (near int, end far)
}

var (
	kindTCP  = kind{"tcp", tcpPair}
	kindUnix = kind{"unix", unixPair}
)

func must[T any](value T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return value
	}
}

func tcpPair(tb testing.TB) (near int, end far) {
	tb.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(tb)
	defer listener.Close()
	dialled := must(net.Dial("tcp", listener.Addr().String()))(tb)
	accepted := must(listener.Accept())(tb)
	defer accepted.Close()
	return takeOut(tb, accepted.(*net.TCPConn)), dialled.(*net.TCPConn)
}

func unixPair(tb testing.TB) (near int, end far) {
	tb.Helper()
	fds := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0))(tb)
	file := os.NewFile(uintptr(fds[1]), "socketpair")
	defer file.Close()
	return fds[0], must(net.FileConn(file))(tb).(*net.UnixConn)
}

// takeOut returns a duplicate of the descriptor of a connection, which Go does not know.
func takeOut(tb testing.TB, conn syscall.Conn) int {
	tb.Helper()
	fd := -1
	err := must(conn.SyscallConn())(tb).Control(func(own uintptr) {
		fd, _ = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil || fd < 0 {
		tb.Fatal("no descriptor: ", err)
	}
	return fd
}

// tunnel is a tunnel between two peers.
type tunnel struct {
	testing.TB
	*Tunnel
	client, target far
	near           [2]int
	results        chan Result
}

func startLoops(tb testing.TB, n int) *Loops {
	tb.Helper()
	ls := must(Start(n, 0))(tb)
	tb.Cleanup(ls.Close)
	return ls
}

func connect(tb testing.TB, client, target kind) *tunnel {
	tb.Helper()
	tt := &tunnel{TB: tb, results: make(chan Result, 2)}
	tt.near[0], tt.client = client.pair(tb)
	tt.near[1], tt.target = target.pair(tb)
	for _, conn := range []net.Conn{tt.client, tt.target} {
		_ = conn.SetDeadline(time.Now().Add(patience))
		tb.Cleanup(func() { _ = conn.Close() })
	}
	return tt
}

func (tt *tunnel) done(r Result) { tt.results <- r }

func (tt *tunnel) add(ls *Loops, limits Limits) *tunnel {
	return tt.addEarly(ls, limits, "", "")
}

func (tt *tunnel) addEarly(ls *Loops, limits Limits, fromClient, fromTarget string) *tunnel {
	if limits.Grace == 0 {
		limits.Grace = patience
	}
	tt.Tunnel = ls.Add(Side{FD: tt.near[0], Early: []byte(fromClient)}, Side{FD: tt.near[1], Early: []byte(fromTarget)}, limits, tt.done)
	return tt
}

// open starts a tunnel of two TCP connections on a loop of its own.
func open(tb testing.TB) *tunnel {
	tb.Helper()
	return connect(tb, kindTCP, kindTCP).add(startLoops(tb, 1), Limits{})
}

// wait waits until done was called, and returns the result.
func (tt *tunnel) wait() Result {
	tt.Helper()
	select {
	case r := <-tt.results:
		return r
	case <-time.After(patience):
		tt.Fatal("the tunnel is not over")
	}
	return Result{}
}

func (tt *tunnel) waitFor(first End) Result {
	tt.Helper()
	r := tt.wait()
	if r.First != first || r.Err != nil || r.Broke != EndNone {
		tt.Errorf("ended by %d with %v, want %d and no error", r.First, r, first)
	}
	return r
}

func (tt *tunnel) waitBroken(by End) Result {
	tt.Helper()
	r := tt.wait()
	if r.First != by || r.Broke != by || !errors.Is(r.Err, syscall.ECONNRESET) && !errors.Is(r.Err, syscall.EPIPE) {
		tt.Errorf("ended with %+v, want a reset by %d", r, by)
	}
	return r
}

// eventually waits for a condition of which there is no event.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for until := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			tb.Fatal("still not so: " + what)
		}
	}
}

// stalled waits until the tunnel, which is full, moves no more bytes.
func (tt *tunnel) stalled() {
	tt.Helper()
	last, still := int64(0), 0
	eventually(tt, "the tunnel is stalled", func() bool {
		up, down := tt.Counts()
		if up+down == 0 || up+down != last {
			last, still = up+down, 0
		}
		still++
		return still > 50
	})
}

// endless is an input that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func say(tb testing.TB, to io.Writer, text string) {
	tb.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		tb.Fatal(err)
	}
}

func expect(tb testing.TB, from io.Reader, text string) {
	tb.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(from, got); err != nil || string(got) != text {
		tb.Fatalf("read %.60q, %v; want %.60q", got[:n], err, text)
	}
}

// expectLast reads to the end of file, which must be orderly.
func expectLast(tb testing.TB, from io.Reader, text string) {
	tb.Helper()
	if got, err := io.ReadAll(from); err != nil || string(got) != text {
		tb.Fatalf("read %d bytes %.60q, %v; want %d bytes %.60q", len(got), got, err, len(text), text)
	}
}

func halfClose(tb testing.TB, conn far) {
	tb.Helper()
	if err := conn.CloseWrite(); err != nil {
		tb.Fatal(err)
	}
}

func reset(conn far) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
