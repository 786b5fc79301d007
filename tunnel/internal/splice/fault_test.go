//go:build linux

package splice

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// transfer is how many bytes the tests of bulk send each way.
const transfer = 64<<20 + 13

// exchange sends random bytes both ways at once, in pieces of random sizes and to
// readers that read little at a time, and compares checksums.
func exchange(tt *tunnel, size int64) {
	tt.Helper()
	var all sync.WaitGroup
	for seed, way := range [][2]far{{tt.client, tt.target}, {tt.target, tt.client}} {
		sent := make(chan [sha256.Size]byte, 1)
		all.Go(func() { sent <- sendRandom(way[0], size, byte(seed)) })
		all.Go(func() {
			if got := receiveSum(way[1], byte(seed)); got != <-sent {
				tt.Errorf("way %d: other bytes were received than sent", seed)
			}
		})
	}
	all.Wait()
	if r := tt.wait(); r.Up != size || r.Down != size || r.Err != nil || r.First != EndClient && r.First != EndTarget {
		tt.Errorf("%+v", r)
	}
}

// sendRandom writes size bytes and half-closes.
func sendRandom(to far, size int64, seed byte) [sha256.Size]byte {
	source := rand.NewChaCha8([32]byte{seed})
	dice := rand.New(rand.NewChaCha8([32]byte{seed, 1}))
	hash, piece := sha256.New(), make([]byte, 256<<10)
	for size > 0 {
		// Small pieces are as frequent as large ones.
		b := piece[:min(size, 1+dice.Int64N(1<<(1+dice.IntN(18))))]
		_, _ = source.Read(b)
		n, err := to.Write(b)
		hash.Write(b[:n])
		if size -= int64(n); err != nil {
			break
		}
	}
	_ = to.CloseWrite()
	return [sha256.Size]byte(hash.Sum(nil))
}

// receiveSum reads to the end.
func receiveSum(from io.Reader, seed byte) [sha256.Size]byte {
	dice := rand.New(rand.NewChaCha8([32]byte{seed, 2}))
	hash, piece := sha256.New(), make([]byte, 32<<10)
	for {
		n, err := from.Read(piece[:1+dice.IntN(len(piece))])
		hash.Write(piece[:n])
		if err != nil {
			return [sha256.Size]byte(hash.Sum(nil))
		}
	}
}

func TestBytesAndCountsAreExact(t *testing.T) {
	eachPair(t, func(t *testing.T, tt *tunnel, ls *Loops) {
		tt.add(ls, Limits{Idle: time.Hour, Linger: time.Hour})
		exchange(tt, transfer)
		if open, free := ls.Pipes(); open == 0 || open != free {
			t.Errorf("of %d pipes used %d were given back", open, free)
		}
	})
}

// refusePipes makes opening a pipe fail, except for every nth time.
func refusePipes(ls *Loops, every int64, refuse func() (*pipe, error)) *atomic.Int64 {
	tries := new(atomic.Int64)
	for _, l := range ls.loops {
		l.pipes.open = func() (*pipe, error) {
			if n := tries.Add(1); every > 0 && n%every == 0 {
				return openPipe()
			}
			return refuse()
		}
	}
	return tries
}

func TestWithoutPipesBytesGoByBuffer(t *testing.T) {
	for _, every := range []int64{0, 3} {
		t.Run(fmt.Sprint("but for every ", every), func(t *testing.T) {
			eachPair(t, func(t *testing.T, tt *tunnel, ls *Loops) {
				tries := refusePipes(ls, every, func() (*pipe, error) { return nil, syscall.EMFILE })
				tt.add(ls, Limits{})
				exchange(tt, transfer/4)
				if n := tries.Load(); n < 3 {
					t.Errorf("a pipe was tried for %d times", n)
				}
			})
		})
	}
}

// A kernel that does not splice from a socket says so, as this one does here, because
// the file in place of the pipe is none.
func TestRefusedSpliceFallsBackToBuffers(t *testing.T) {
	ls := startLoops(t, 1)
	tries := refusePipes(ls, 0, func() (*pipe, error) {
		r, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		w, err := unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		return &pipe{int32(r), int32(w)}, err
	})
	tt := connect(t, kindTCP, kindTCP).add(ls, Limits{})
	exchange(tt, transfer/16)
	if tries.Load() == 0 {
		t.Error("no splice was tried")
	}
}

// A file opened for appending accepts no splice, as a socket of another kernel might
// not. By then the bytes are in the pipe.
func TestBytesInAPipeSurviveARefusedSplice(t *testing.T) {
	m := manualLoop(t)
	path := filepath.Join(t.TempDir(), "f")
	file := must(os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))(t)
	defer file.Close()
	text := make([]byte, 100_000)
	w := &way{pipe: m.pipes.get(), n: int32(len(text))}
	if n, err := unix.Write(int(w.pipe.w), text); n != len(text) {
		t.Fatal(n, err)
	}
	if n, errno := move(w.pipe.r, int32(file.Fd()), len(text)); errno != unix.EINVAL {
		t.Fatalf("%d, %v: the test tests nothing", n, errno)
	}
	if errno := m.unpipe(w); errno != 0 || len(w.held) != len(text) || w.pipe != nil || !w.plain {
		t.Errorf("%v, %d bytes held", errno, len(w.held))
	}
	if open, free := m.Pipes(); open != 1 || free != 1 {
		t.Errorf("of %d pipes %d are free", open, free)
	}
}

// A pipe with bytes left in it would give them to the next tunnel.
func TestPipeWithBytesIsNeverReused(t *testing.T) {
	ls := startLoops(t, 1)
	tt := connect(t, kindTCP, kindTCP).add(ls, Limits{})
	go func() { _, _ = io.Copy(tt.client, endless{}) }()
	tt.stalled()
	if open, free := ls.Pipes(); open != 1 || free != 0 {
		t.Fatalf("of %d pipes %d are free: the test tests nothing", open, free)
	}
	tt.Stop(0)
	tt.waitFor(EndStopped)
	if open, free := ls.Pipes(); open != 0 || free != 0 {
		t.Errorf("%d pipes are left, %d of them to be used again", open, free)
	}
}

func TestPipesAreBounded(t *testing.T) {
	m := manualLoop(t)
	m.pipes.most, m.pipes.keep = 8, 3
	var pipes []*pipe
	for b := m.pipes.get(); b != nil; b = m.pipes.get() {
		pipes = append(pipes, b)
	}
	for _, b := range pipes {
		m.pipes.put(b, 0)
	}
	if open, free := m.Pipes(); len(pipes) != 8 || open != 3 || free != 3 {
		t.Errorf("%d were lent, %d kept, %d free", len(pipes), open, free)
	}
}

// What a person types needs no pipe.
func TestSmallPiecesNeedNoPipe(t *testing.T) {
	ls := startLoops(t, 1)
	tt := connect(t, kindTCP, kindTCP).add(ls, Limits{})
	for range 100 {
		say(t, tt.client, "x")
		expect(t, tt.target, "x")
	}
	if open, _ := ls.Pipes(); open != 0 {
		t.Errorf("%d pipes were opened", open)
	}
}

func TestIdleTunnelHoldsTwoDescriptors(t *testing.T) {
	ls := startLoops(t, 1)
	tt := connect(t, kindTCP, kindTCP)
	before := openDescriptors() // including the two of the tunnel
	tt.add(ls, Limits{Idle: time.Hour})
	text := string(make([]byte, 4<<20))
	for _, way := range [][2]far{{tt.client, tt.target}, {tt.target, tt.client}} {
		go func() { _, _ = io.WriteString(way[0], text) }()
		expect(t, way[1], text)
	}
	eventually(t, "every pipe is given back", func() bool { open, free := ls.Pipes(); return open > 0 && open == free })
	open, _ := ls.Pipes()
	if after := openDescriptors() - 2*open; after > before { // there may be fewer, once those of other tests are closed
		t.Errorf("the idle tunnel holds %d descriptors", 2+after-before)
	}
}

// A peer that does not read stops its own way only, and memory is bounded. The bytes
// arrive when it reads after all.
func TestZeroWindowHoldsUpItsWayOnly(t *testing.T) {
	eachPair(t, func(t *testing.T, tt *tunnel, ls *Loops) {
		tt.add(ls, Limits{})
		sent := make(chan [sha256.Size]byte, 1)
		go func() { sent <- sendRandom(tt.target, transfer, 9) }()
		tt.stalled()
		if _, down := tt.Counts(); down > transfer/2 {
			t.Errorf("%d bytes were taken that nobody read", down)
		}
		for range 1000 {
			say(t, tt.client, "ping")
			expect(t, tt.target, "ping")
		}
		if got := receiveSum(tt.client, 9); got != <-sent {
			t.Error("other bytes were received than sent")
		}
		halfClose(t, tt.client)
		if r := tt.waitFor(EndTarget); r.Down != transfer || r.Up != 4000 {
			t.Errorf("%+v", r)
		}
	})
}

// A bulk transfer that never ends shares the only loop with many tunnels of few bytes.
func TestBulkDoesNotStarveTheQuiet(t *testing.T) {
	ls := startLoops(t, 1)
	var bulk []*tunnel
	for range 4 {
		tt := connect(t, kindTCP, kindTCP).add(ls, Limits{})
		go func() { _, _ = io.Copy(tt.client, endless{}) }()
		go func() { _, _ = io.Copy(io.Discard, tt.target) }()
		bulk = append(bulk, tt)
	}
	var quiet []*tunnel
	for range 1000 {
		quiet = append(quiet, connect(t, kindUnix, kindUnix).add(ls, Limits{}))
	}
	for round := range 3 {
		var before int64
		for _, tt := range bulk {
			up, _ := tt.Counts()
			before += up
		}
		text := fmt.Sprint("ping ", round)
		for _, tt := range quiet {
			say(t, tt.client, text)
		}
		for _, tt := range quiet {
			expect(t, tt.target, text)
		}
		eventually(t, "bulk moves on", func() bool {
			var now int64
			for _, tt := range bulk {
				up, _ := tt.Counts()
				now += up
			}
			return now > before
		})
	}
}
