package tunnel

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A pipe with bytes left in it would give them to the next tunnel.
func TestRelayPipeWithBytesIsNeverReused(t *testing.T) {
	pool := testPool(t, openPipe)
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindTCP)
	tt.start(relayLimits{})
	go func() { _, _ = io.Copy(tt.client, endless{}) }()
	stalled(tt)
	if all, free := pool.counts(); all != 1 || free != 0 {
		t.Fatalf("of %d pipes %d are free: the test tests nothing", all, free)
	}
	tt.relay.end(ClosedByDrain)
	tt.waitFor(ClosedByDrain)
	if all, free := pool.counts(); all != 0 || free != 0 {
		t.Errorf("%d pipes are left, %d of them to be used again", all, free)
	}
}

func TestRelayPipePoolIsBounded(t *testing.T) {
	pool := testPool(t, openPipe)
	before := openDescriptors(t)
	var pipes []*relayPipe
	for range relayPipeMost {
		pipe := pool.get()
		if pipe == nil {
			break // the user's share of pipe memory
		}
		pipes = append(pipes, pipe)
	}
	if len(pipes) <= relayPipeKeep {
		t.Skip("this machine allows too few pipes")
	}
	if len(pipes) == relayPipeMost && pool.get() != nil {
		t.Error("there is no bound")
	}
	for _, pipe := range pipes {
		pool.put(pipe, 0)
	}
	if all, free := pool.counts(); all != relayPipeKeep || free != relayPipeKeep {
		t.Errorf("%d pipes are open, %d free; want %d", all, free, relayPipeKeep)
	}
	for range relayPipeKeep {
		pool.put(pool.get(), 1)
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func TestRelayWithoutPipesFallsBackToBuffers(t *testing.T) {
	tries := 0
	var mu sync.Mutex
	pool := testPool(t, func() (*relayPipe, error) {
		mu.Lock()
		defer mu.Unlock()
		if tries++; tries%3 != 0 {
			return nil, syscall.EMFILE
		}
		return openPipe()
	})
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindUnix)
	tt.start(relayLimits{})
	exchange(t, tt, 64<<20)
	if result := tt.wait(); result.up != 64<<20 || result.down != 64<<20 || result.err != nil {
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
	pool := testPool(t, openPipe)
	pipe := pool.get()
	text := string(make([]byte, 100_000))
	if n, err := unix.Write(pipe.w, []byte(text)); n != len(text) {
		t.Fatal(n, err)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := newRelay(relaySide{conn: tt.nearClient}, relaySide{conn: tt.nearTarget}, relayLimits{}, nil)
	r.target.raw = raw
	d := &r.up
	d.socket = socketDirection{pipes: pool, pipe: pipe, n: len(text)}
	go func() {
		if !d.sendPipe(d.drain) || !d.socket.noSplice {
			t.Error("the bytes were not sent by hand")
		}
		_ = tt.nearTarget.Close()
	}()
	expectLast(t, tt.target, text)
	eventually(t, "the pipe is given back", func() bool { _, free := pool.counts(); return free == 1 })
	if got := d.moved.Load(); got != int64(len(text)) {
		t.Errorf("counted %d bytes", got)
	}
}

// A kernel that does not splice from a socket says so, as it does here because
// what stands in for the pipe is none.
func TestRelayRefusedSpliceFallsBackToBuffers(t *testing.T) {
	refused := 0
	var mu sync.Mutex
	pool := testPool(t, func() (*relayPipe, error) {
		mu.Lock()
		defer mu.Unlock()
		refused++
		r, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		w, err := unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		return &relayPipe{r: r, w: w}, err
	})
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindTCP)
	tt.start(relayLimits{})
	exchange(t, tt, 4<<20)
	tt.wait()
	if refused == 0 {
		t.Error("no splice was tried")
	}
}
