package sock

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallPipe opens a pipe of the default size. A pool full of large ones could use
// up the user's share of pipe memory, which tests of other packages need too.
func smallPipe() (*Pipe, error) {
	var fds [2]int
	err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return &Pipe{R: fds[0], W: fds[1]}, err
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("open descriptors cannot be counted here: ", err)
	}
	return len(entries) - 1 // without the directory's own
}

func wantCounts(t *testing.T, p *Pipes, all, free int) {
	t.Helper()
	if a, f := p.Counts(); a != all || f != free {
		t.Errorf("%d pipes are open and %d of them free, want %d and %d", a, f, all, free)
	}
}

func TestPipesAreBounded(t *testing.T) {
	before := openDescriptors(t)
	pool := &Pipes{open: smallPipe}
	var pipes []*Pipe
	for range MaxPipes {
		pipe := pool.Get()
		if pipe == nil {
			t.Fatalf("there are no more than %d pipes", len(pipes))
		}
		pipes = append(pipes, pipe)
	}
	if pool.Get() != nil {
		t.Errorf("there are more than %d pipes", MaxPipes)
	}
	for _, pipe := range pipes {
		pool.Put(pipe, 0)
	}
	wantCounts(t, pool, pipeKeep, pipeKeep)
	for range pipeKeep {
		pool.Put(pool.Get(), 1)
	}
	wantCounts(t, pool, 0, 0)
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func TestPipesLendTheLastUsedFirst(t *testing.T) {
	pool := &Pipes{open: smallPipe}
	first, second := pool.Get(), pool.Get()
	pool.Put(first, 0)
	pool.Put(second, 0)
	if got := pool.Get(); got != second {
		t.Error("the pipe used last was not lent first")
	}
	pool.Put(second, 1)
	pool.Put(pool.Get(), 1)
	wantCounts(t, pool, 0, 0)
}

// A pipe with bytes left in it would give them to the next tunnel.
func TestPipeWithBytesIsNeverReused(t *testing.T) {
	pool := new(Pipes)
	pipe := pool.Get()
	if pipe == nil {
		t.Skip("this machine has no more pipes of the size wanted")
	}
	pool.Put(pipe, 1)
	wantCounts(t, pool, 0, 0)
}

func TestPipesThatCannotBeOpened(t *testing.T) {
	fail := true
	pool := &Pipes{open: func() (*Pipe, error) {
		if fail {
			return nil, syscall.EMFILE
		}
		return smallPipe()
	}}
	if pool.Get() != nil {
		t.Error("there is a pipe that could not be opened")
	}
	wantCounts(t, pool, 0, 0)
	fail = false
	pipe := pool.Get()
	if pipe == nil {
		t.Fatal("there is no pipe after a failure")
	}
	wantCounts(t, pool, 1, 0)
	pool.Put(pipe, 1)
}

func TestPipeReadAll(t *testing.T) {
	pipe, err := smallPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.close()
	if _, err := unix.Write(pipe.W, []byte("what it holds")); err != nil {
		t.Fatal(err)
	}
	left := len("what it holds")
	if got, err := pipe.ReadAll(&left); string(got) != "what it holds" || err != nil || left != 0 {
		t.Errorf("read %q, %v, and %d bytes are left", got, err, left)
	}
	left = 1
	if _, err := pipe.ReadAll(&left); !errors.Is(err, syscall.EAGAIN) || left != 1 {
		t.Errorf("reading from an empty pipe: %v, and %d bytes are left", err, left)
	}
}
