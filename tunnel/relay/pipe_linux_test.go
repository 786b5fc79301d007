package relay

import (
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"

	"golang.org/x/sys/unix"
)

// A pipe with bytes left in it would give them to the next tunnel.
func TestRelayPipeWithBytesIsNeverReused(t *testing.T) {
	pool := testPool(t)
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindTCP)
	tt.start(Limits{})
	go func() { _, _ = io.Copy(tt.client, testkit.Endless{}) }()
	stalled(tt)
	if all, free := pool.Counts(); all != 1 || free != 0 {
		t.Fatalf("of %d pipes %d are free: this test would test nothing", all, free)
	}
	tt.relay.End(ClosedByDrain)
	tt.waitFor(ClosedByDrain)
	if all, free := pool.Counts(); all != 0 || free != 0 {
		t.Errorf("%d pipes are left, %d of them to be used again", all, free)
	}
}

// sparsePool is a pool that often has no pipe.
type sparsePool struct {
	*sock.Pipes
	asked atomic.Int32
}

func (p *sparsePool) Get() *sock.Pipe {
	if p.asked.Add(1)%3 != 0 {
		return nil
	}
	return p.Pipes.Get()
}

func TestRelayWithoutPipesFallsBackToBuffers(t *testing.T) {
	pool := &sparsePool{Pipes: testPool(t)}
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindUnix)
	tt.start(Limits{})
	exchange(t, tt, 64<<20)
	if result := tt.wait(); result.Up != 64<<20 || result.Down != 64<<20 || result.Err != nil {
		t.Errorf("%+v", result)
	}
	if asked := pool.asked.Load(); asked < 3 {
		t.Errorf("the pool was asked for a pipe %d times", asked)
	}
}

// A file opened for appending accepts no splice, as a socket of another kernel might
// not. By then the bytes are in the pipe.
func TestRelayBytesInAPipeSurviveARefusedSplice(t *testing.T) {
	file, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tt := &testTunnel{TB: t}
	tt.connect(kindTCP, kindTCP)
	defer tt.nearClient.Close()
	pool := testPool(t)
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
			t.Error("the bytes were not copied from the pipe")
		}
		_ = tt.nearTarget.Close()
	}()
	testkit.ExpectLast(t, tt.target, text)
	testkit.Eventually(t, "the pipe is given back", func() bool { _, free := pool.Counts(); return free == 1 })
	if got := d.moved.Load(); got != int64(len(text)) {
		t.Errorf("counted %d bytes", got)
	}
}

// A kernel that does not splice from a socket says so, as this one does here,
// because the file in place of the pipe is none.
func TestRelayRefusedSpliceFallsBackToBuffers(t *testing.T) {
	file, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pool := &unsplicedPool{file: int(file.Fd())}
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindTCP)
	tt.start(Limits{})
	exchange(t, tt, 4<<20)
	tt.wait()
	if pool.lent.Load() == 0 {
		t.Error("no splice was tried")
	}
}

// unsplicedPool lends pipes that are none.
type unsplicedPool struct {
	file int
	lent atomic.Int32
}

func (p *unsplicedPool) Get() *sock.Pipe {
	p.lent.Add(1)
	return &sock.Pipe{R: p.file, W: p.file}
}

func (p *unsplicedPool) Put(*sock.Pipe, int) {}
