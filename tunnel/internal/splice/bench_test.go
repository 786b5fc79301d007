//go:build linux

package splice

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// peersEnv is the environment variable that makes the test binary the peers of a
// benchmark, so that the time measured is that of the relay alone. It says what they do,
// how often, and at which addresses the connections of client and target are accepted.
const peersEnv = "SPLICE_TEST_PEERS"

func runPeers() int {
	var work, clientAddr, targetAddr string
	var n int
	if _, err := fmt.Sscan(os.Getenv(peersEnv), &work, &n, &clientAddr, &targetAddr); err != nil {
		return 2
	}
	client, err := net.Dial("tcp", clientAddr)
	if err != nil {
		return 1
	}
	target, err := net.Dial("tcp", targetAddr)
	if err != nil {
		return 1
	}
	if work == "bulk" {
		piece := make([]byte, 256<<10)
		go func() {
			for range n * 4 {
				_, _ = target.Write(piece)
			}
			_ = target.Close()
		}()
		for err == nil {
			_, err = client.Read(piece)
		}
		return 0
	}
	go func() { _, _ = io.Copy(struct{ io.Writer }{target}, struct{ io.Reader }{target}) }()
	ball := []byte{1}
	for range n {
		_, _ = client.Write(ball)
		if _, err := client.Read(ball); err != nil {
			return 1
		}
	}
	return 0
}

// withPeers relays between two peers in a process of their own while they do their work
// n times, and reports the CPU time of this process.
func withPeers(b *testing.B, ls *Loops, work string, n int) Result {
	listeners := [2]net.Listener{must(net.Listen("tcp", "127.0.0.1:0"))(b), must(net.Listen("tcp", "127.0.0.1:0"))(b)}
	peers := exec.CommandContext(b.Context(), os.Args[0])
	peers.Env = append(os.Environ(), fmt.Sprint(peersEnv, "=", work, " ", n, " ", listeners[0].Addr(), " ", listeners[1].Addr()))
	if err := peers.Start(); err != nil {
		b.Fatal(err)
	}
	var fds [2]int
	for i, l := range listeners {
		conn := must(l.Accept())(b)
		fds[i] = takeOut(b, conn.(*net.TCPConn))
		_, _ = conn.Close(), l.Close()
	}
	results := make(chan Result, 1)
	before := cpuTime()
	b.ResetTimer()
	ls.Add(Side{FD: fds[0]}, Side{FD: fds[1]}, Limits{Linger: time.Minute}, func(r Result) { results <- r })
	r := <-results
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-before)/float64(n)/1000, "cpu-µs/op")
	if err := peers.Wait(); err != nil {
		b.Fatal(err)
	}
	return r
}

func cpuTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkBulk moves one MiB per operation, one way.
func BenchmarkBulk(b *testing.B) {
	ls := startLoops(b, 0)
	b.SetBytes(1 << 20)
	if r := withPeers(b, ls, "bulk", b.N); r.Down != int64(b.N)<<20 {
		b.Errorf("%+v", r)
	}
}

func BenchmarkPingPong(b *testing.B) {
	ls := startLoops(b, 0)
	if r := withPeers(b, ls, "ping", b.N); r.Up != int64(b.N) || r.Down != int64(b.N) {
		b.Errorf("%+v", r)
	}
}

// BenchmarkOpenClose relays a byte each way between socket pairs that were made
// beforehand, and closes the tunnel.
func BenchmarkOpenClose(b *testing.B) {
	ls := startLoops(b, 0)
	var client, target [2]int
	results := make(chan Result)
	b.ReportAllocs()
	for range b.N {
		for _, fds := range []*[2]int{&client, &target} {
			*fds = must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))(b)
			_ = unix.SetNonblock(fds[0], true)
		}
		ls.Add(Side{FD: client[0]}, Side{FD: target[0]}, Limits{Linger: time.Minute}, func(r Result) { results <- r })
		var ball [1]byte
		_, _ = unix.Write(client[1], ball[:])
		_, _ = unix.Read(target[1], ball[:])
		_, _ = unix.Write(target[1], ball[:])
		_, _ = unix.Read(client[1], ball[:])
		_, _ = unix.Close(client[1]), unix.Close(target[1])
		if r := <-results; r.Up != 1 || r.Down != 1 {
			b.Fatalf("%+v", r)
		}
	}
}

// BenchmarkIdleMemory measures tunnels that wait after some traffic.
func BenchmarkIdleMemory(b *testing.B) {
	const tunnels = 1000
	for range b.N {
		ls := must(Start(0, 0))(b)
		ends := make([][2]int, 0, 2*tunnels)
		for range 2 * tunnels {
			fds := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))(b)
			_ = unix.SetNonblock(fds[0], true)
			ends = append(ends, fds)
		}
		memory, descriptors := goMemory(), openDescriptors()
		done := func(Result) {}
		for i := 0; i < len(ends); i += 2 {
			client, target := ends[i], ends[i+1]
			ls.Add(Side{FD: client[0]}, Side{FD: target[0]}, Limits{Linger: time.Minute}, done)
			text := []byte(strings.Repeat("a few bytes", 100))
			_, _ = unix.Write(client[1], text)
			_, _ = unix.Read(target[1], text)
		}
		open, _ := ls.Pipes()
		b.ReportMetric(float64(goMemory()-memory)/tunnels, "B/tunnel")
		b.ReportMetric(2+float64(openDescriptors()-2*open-descriptors)/tunnels, "fds/tunnel")
		for _, fds := range ends {
			_ = unix.Close(fds[1])
		}
		ls.Close()
	}
}

// goMemory returns the bytes in use by objects and by stacks.
func goMemory() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse)
}
