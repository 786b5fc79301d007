package relay

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"

	"golang.org/x/sys/unix"
)

// A pipe with bytes left in it would give them to the next tunnel.
func TestRelayPipeWithBytesIsNeverReused(t *testing.T) {
	pool := testPool(t, sock.OpenPipe)
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindTCP)
	tt.start(Limits{})
	go func() { _, _ = io.Copy(tt.client, testkit.Endless{}) }()
	stalled(tt)
	if all, free := pool.Counts(); all != 1 || free != 0 {
		t.Fatalf("of %d pipes %d are free: the test tests nothing", all, free)
	}
	tt.relay.End(ClosedByDrain)
	tt.waitFor(ClosedByDrain)
	if all, free := pool.Counts(); all != 0 || free != 0 {
		t.Errorf("%d pipes are left, %d of them to be used again", all, free)
	}
}

func TestRelayPipePoolIsBounded(t *testing.T) {
	pool := testPool(t, sock.OpenPipe)
	before := openDescriptors(t)
	var pipes []*sock.Pipe
	for range sock.PipeMost {
		pipe := pool.Get()
		if pipe == nil {
			break // the user's share of pipe memory
		}
		pipes = append(pipes, pipe)
	}
	if len(pipes) <= sock.PipeKeep {
		t.Skip("this machine allows too few pipes")
	}
	if len(pipes) == sock.PipeMost && pool.Get() != nil {
		t.Error("there is no bound")
	}
	for _, pipe := range pipes {
		pool.Put(pipe, 0)
	}
	if all, free := pool.Counts(); all != sock.PipeKeep || free != sock.PipeKeep {
		t.Errorf("%d pipes are open, %d free; want %d", all, free, sock.PipeKeep)
	}
	for range sock.PipeKeep {
		pool.Put(pool.Get(), 1)
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func TestRelayWithoutPipesFallsBackToBuffers(t *testing.T) {
	tries := 0
	var mu sync.Mutex
	pool := testPool(t, func() (*sock.Pipe, error) {
		mu.Lock()
		defer mu.Unlock()
		if tries++; tries%3 != 0 {
			return nil, syscall.EMFILE
		}
		return sock.OpenPipe()
	})
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindUnix)
	tt.start(Limits{})
	exchange(t, tt, 64<<20)
	if result := tt.wait(); result.Up != 64<<20 || result.Down != 64<<20 || result.Err != nil {
		t.Errorf("%+v", result)
	}
	if tries < 3 {
		t.Errorf("a pipe was tried for %d times", tries)
	}
}

// A file opened for appending takes no splice, as a socket of some other
// kernel might not: the bytes are in the pipe by then.
func TestRelayBytesInAPipeSurviveARefusedSplice(t *testing.T) {
	file, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tt := &testTunnel{TB: t}
	tt.connect(kindTCP, kindTCP)
	defer tt.nearClient.Close()
	pool := testPool(t, sock.OpenPipe)
	pipe := pool.Get()
	text := string(make([]byte, 100_000))
	if n, err := unix.Write(pipe.W, []byte(text)); n != len(text) {
		t.Fatal(n, err)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := newRelay(Side{Conn: tt.nearClient}, Side{Conn: tt.nearTarget}, Limits{}, nil)
	r.target.raw = raw
	d := &r.up
	d.socket = socketDirection{pipes: pool, pipe: pipe, n: len(text)}
	go func() {
		if !d.sendPipe(d.drain) || !d.socket.noSplice {
			t.Error("the bytes were not sent by hand")
		}
		_ = tt.nearTarget.Close()
	}()
	testkit.ExpectLast(t, tt.target, text)
	testkit.Eventually(t, "the pipe is given back", func() bool { _, free := pool.Counts(); return free == 1 })
	if got := d.moved.Load(); got != int64(len(text)) {
		t.Errorf("counted %d bytes", got)
	}
}

// A kernel that does not splice from a socket says so, as it does here because
// what stands in for the pipe is none.
func TestRelayRefusedSpliceFallsBackToBuffers(t *testing.T) {
	refused := 0
	var mu sync.Mutex
	pool := testPool(t, func() (*sock.Pipe, error) {
		mu.Lock()
		defer mu.Unlock()
		refused++
		r, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		w, err := unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		return &sock.Pipe{R: r, W: w}, err
	})
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindTCP)
	tt.start(Limits{})
	exchange(t, tt, 4<<20)
	tt.wait()
	if refused == 0 {
		t.Error("no splice was tried")
	}
}
