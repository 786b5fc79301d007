package realtest

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manyDescriptors is the limit under which many tunnels are tried, and many is
// how many it must carry.
const (
	manyDescriptors = 20_000
	many            = 9_000
	burst           = 5_000

	// spare is the memory that may stay: the runtime collects below 4 MiB
	// seldom, and keeps stacks and the maps at their largest.
	spare = 8 << 20
)

// limited starts the program that users have, without the race detector's own
// memory, under a descriptor limit: manyDescriptors, or what this machine
// gives, in which case the numbers shrink with it.
func limited(t *testing.T) (p *proxyProcess, scale func(int) int) {
	t.Helper()
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
		t.Fatal(err)
	}
	limit := int(min(most.Max, manyDescriptors))
	p = startProxy(t, []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, limit), culvertAsUsed(t)})
	return p, func(n int) int { return n * limit / manyDescriptors }
}

// crowded is a serve with a crowd of tunnels to an echo, and what there was
// before.
type crowded struct {
	*proxyProcess
	job             *job
	numbers, bytes  int // descriptors and memory with no tunnel open
	held            int // tunnels
	opened, refused int // so far
}

func gather(p *proxyProcess, t *testing.T) *crowded {
	c := &crowded{proxyProcess: p, job: startJob(t, "crowd", p.addr, startJob(t, "echo").line())}
	c.open(1, 1) // what is made once
	c.job.crowd("close 1")
	eventually(p, "the first tunnel is over", func() bool { return len(p.records("tunnel close")) == 1 })
	c.held, c.numbers, c.bytes = 0, len(p.descriptors()), p.memory()
	return c
}

// open opens n tunnels, by so many goroutines at once, and returns how many
// were not refused.
func (c *crowded) open(n, atOnce int) int {
	c.Helper()
	opened, refused := c.job.crowd("open %d %d", n, atOnce)
	c.held, c.opened, c.refused = c.held+opened, c.opened+opened, c.refused+refused
	return opened
}

func (c *crowded) mustOpen(n, atOnce int) {
	c.Helper()
	if opened := c.open(n, atOnce); opened != n {
		c.Fatalf("of %d tunnels %d opened", n, opened)
	}
}

func (c *crowded) close(n int) {
	c.Helper()
	c.job.crowd("close %d", n)
	c.held -= n
	c.holdTwoEach()
}

func (c *crowded) holdTwoEach() {
	c.Helper()
	eventually(c, fmt.Sprintf("%d tunnels hold two descriptors each", c.held), func() bool {
		return len(c.descriptors()) == c.numbers+2*c.held
	})
}

// Issue 3: an idle tunnel holds two descriptors and little memory, at the limit
// new ones are refused and the old ones live, a burst is accepted, and when all
// are gone everything is back.
func TestNineThousandTunnels(t *testing.T) {
	if testing.Short() {
		t.Skip("it opens some 20,000 tunnels")
	}
	p, scale := limited(t)
	c := gather(p, t)
	c.mustOpen(scale(many), 64)
	c.holdTwoEach()
	full := p.memory()
	each := (full - c.bytes) / c.held
	t.Logf("an idle tunnel takes %d bytes", each)
	if each > 6<<10 { // two goroutines alone would be eight KiB
		t.Errorf("an idle tunnel takes %d bytes", each)
	}

	c.open(scale(1000), 64)
	if c.refused == 0 {
		t.Error("there is no limit")
	}
	c.holdTwoEach()
	if free := scale(manyDescriptors) - len(p.descriptors()); free < scale(200) {
		t.Errorf("at the limit %d descriptors are left to refuse with", free)
	}
	if n, _ := c.job.crowd("talk"); n != c.held {
		t.Errorf("at the limit %d of %d tunnels work", n, c.held)
	}
	c.close(scale(500))
	c.mustOpen(scale(500), 64)
	c.close(c.held)

	// Free memory is found at the next collections, which come with use.
	for until := time.Now().Add(3 * bound); p.memory() > c.bytes+spare; {
		if time.Now().After(until) {
			t.Fatalf("%d bytes of memory are still there of which %d were at first, and %d with the most tunnels", p.memory(), c.bytes, full)
		}
		c.mustOpen(200, 16)
		c.close(200)
	}
	t.Logf("after %d tunnels memory is %d KiB, at first it was %d", c.opened, p.memory()>>10, c.bytes>>10)

	c.mustOpen(scale(burst), scale(burst))
	c.close(c.held)
	eventually(p, "every tunnel has both records", func() bool { return len(p.records("tunnel close")) == c.opened })
	if n := len(p.records("tunnel open")); n != c.opened {
		t.Errorf("%d tunnels are logged as open, %d were", n, c.opened)
	}
	if n := len(p.records("request")); n != c.refused {
		t.Errorf("%d refusals are logged, %d came", n, c.refused)
	}
	if n := p.goroutines(); n == 0 || n > 50 {
		t.Errorf("%d goroutines are left", n)
	}
}
