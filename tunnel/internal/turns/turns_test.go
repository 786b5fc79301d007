package turns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// costing returns an attempt that takes a while and has that result.
func costing(d time.Duration, ok bool) func() bool {
	return func() bool {
		time.Sleep(d)
		return ok
	}
}

func addr(format string, a ...any) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, a...)) }

// in runs a test of a Queue in a bubble, where time costs nothing.
func in(t *testing.T, atOnce int, test func(t *testing.T, q *Queue)) {
	synctest.Test(t, func(t *testing.T) {
		q := New(atOnce)
		test(t, q)
		synctest.Wait()
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.waiting != 0 || q.weight != 0 || q.free != max(1, atOnce) || q.line() != nil {
			t.Errorf("in the end %d wait with %d bytes, %d may begin", q.waiting, q.weight, q.free)
		}
		for network, g := range q.gates {
			if g.waiting != 0 || g.running != 0 || len(g.line) != 0 {
				t.Errorf("in the end %d of %v wait, %d run, %d are in line", g.waiting, network, g.running, len(g.line))
			}
		}
	})
}

// A flood of one address delays another's attempt by a few of its own attempts.
func TestFloodDelaysOthersByLittle(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() { _, _ = q.Do(t.Context(), addr("192.0.2.1"), 1, costing(time.Second, false)) })
		}
		synctest.Wait()
		start := time.Now()
		if ok, err := q.Do(t.Context(), addr("192.0.2.2"), 1, costing(time.Second, true)); !ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		all.Wait()
	})
}

// However many connections it has, an address has few attempts a minute.
func TestGuessingIsLimited(t *testing.T) {
	for name, tt := range map[string]struct {
		from  func(i int) netip.Addr
		least int // attempts in ten minutes, at least
		most  int
	}{
		"IPv4 address": {func(int) netip.Addr { return addr("192.0.2.1") }, 140, 160},
		"IPv6 /64":     {func(i int) netip.Addr { return addr("2001:db8::%x", i+1) }, 140, 160},
		"IPv6 /56":     {func(i int) netip.Addr { return addr("2001:db8:0:%x::1", i%200) }, 500, 650},
		"IPv6 /48":     {func(i int) netip.Addr { return addr("2001:db8:0:%x::1", i*17%0xffff) }, 2000, 2500},
		"mapped":       {func(i int) netip.Addr { return addr("::ffff:192.0.2.1") }, 140, 160},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, 4, func(t *testing.T, q *Queue) {
				var tries atomic.Int64
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				var all sync.WaitGroup
				for i := range 100 {
					all.Go(func() {
						for n := i; ctx.Err() == nil; n += 100 {
							_, err := q.Do(ctx, tt.from(n), 1, func() bool { tries.Add(1); return false })
							if errors.Is(err, ErrFull) {
								time.Sleep(time.Second)
							}
						}
					})
				}
				all.Wait()
				if n := int(tries.Load()); n < tt.least || n > tt.most {
					t.Errorf("%d attempts in ten minutes, want %d to %d", n, tt.least, tt.most)
				}
			})
		})
	}
}

// A burst at the start is limited too: no more attempts are under way than may fail.
func TestBurstIsLimited(t *testing.T) {
	in(t, 100, func(t *testing.T, q *Queue) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var tries atomic.Int64
		var all sync.WaitGroup
		for range 600 {
			all.Go(func() { _, _ = q.Do(ctx, addr("192.0.2.1"), 1, func() bool { tries.Add(1); return false }) })
		}
		all.Wait()
		if n := tries.Load(); n > 6 {
			t.Errorf("%d attempts in the first second", n)
		}
	})
}

// Success costs an address nothing, and it may have many attempts one after the other.
func TestSuccessIsNotDelayed(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		start := time.Now()
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				if ok, err := q.Do(t.Context(), addr("192.0.2.1"), 1, costing(10*time.Millisecond, true)); !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took > 301*time.Millisecond {
			t.Errorf("30 attempts took %v", took)
		}
	})
}

// Failures are forgotten in time.
func TestFailuresAreForgotten(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		for range 10 {
			_, _ = q.Do(t.Context(), addr("192.0.2.1"), 1, costing(0, false))
		}
		time.Sleep(failuresFor + longestDelay)
		start := time.Now()
		for range 3 {
			_, _ = q.Do(t.Context(), addr("192.0.2.1"), 1, costing(0, false))
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("three attempts took %v", took)
		}
	})
}

// A client that leaves gives its place to the next.
func TestLeavingGivesThePlaceUp(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		busy := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { _, _ = q.Do(t.Context(), addr("192.0.2.9"), 1, func() bool { <-busy; return true }) })
		synctest.Wait()
		gone, leave := context.WithCancelCause(t.Context())
		left := errors.New("left")
		for i := range 20 {
			all.Go(func() {
				if _, err := q.Do(gone, addr("192.0.2.%d", i%2), 1, costing(time.Hour, false)); !errors.Is(err, left) {
					t.Errorf("an attempt whose client left: %v", err)
				}
			})
		}
		synctest.Wait()
		leave(left)
		synctest.Wait()
		start := time.Now()
		all.Go(func() {
			if ok, err := q.Do(t.Context(), addr("192.0.2.1"), 1, costing(time.Second, true)); !ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
		})
		close(busy)
		all.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// The queue is bounded, and what is full for one network has room for another.
func TestQueueIsBounded(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		ctx, cancel := context.WithCancel(t.Context())
		busy := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { _, _ = q.Do(t.Context(), netip.Addr{}, 1, func() bool { <-busy; return true }) })
		synctest.Wait()
		var full atomic.Int64
		for i := range 10_000 {
			all.Go(func() {
				if _, err := q.Do(ctx, addr("10.0.%d.%d", i%200/100, i%100), 1, costing(0, true)); errors.Is(err, ErrFull) {
					full.Add(1)
				}
			})
		}
		synctest.Wait()
		if n := 10_000 - full.Load(); n < 1000 || n > maxWaiting {
			t.Errorf("%d attempts wait", n)
		}
		other := make(chan error, 1)
		all.Go(func() {
			_, err := q.Do(t.Context(), addr("192.0.2.1"), 1, costing(0, true))
			other <- err
		})
		synctest.Wait()
		cancel()
		close(busy)
		if err := <-other; err != nil {
			t.Errorf("another network's attempt: %v", err)
		}
		all.Wait()
	})
}

// What the attempts hold in memory is bounded, and the heavy ones of a few networks leave
// room for another's.
func TestWeightIsBounded(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		ctx, cancel := context.WithCancel(t.Context())
		busy := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { _, _ = q.Do(t.Context(), netip.Addr{}, 1, func() bool { <-busy; return true }) })
		synctest.Wait()
		const heavy = 130 << 10
		for i := range 50 {
			for range 32 {
				all.Go(func() { _, _ = q.Do(ctx, addr("10.0.0.%d", i), heavy, costing(0, false)) })
			}
		}
		synctest.Wait()
		q.mu.Lock()
		if q.weight > maxWeight {
			t.Errorf("%d bytes wait", q.weight)
		}
		q.mu.Unlock()
		good := make(chan error, 1)
		all.Go(func() {
			_, err := q.Do(t.Context(), addr("192.0.2.1"), heavy, costing(0, true))
			good <- err
		})
		synctest.Wait()
		cancel()
		close(busy)
		if err := <-good; err != nil {
			t.Errorf("another network's attempt: %v", err)
		}
		all.Wait()
	})
}

// An attempt that panics counts for nothing, and gives its place back.
func TestPanicGivesThePlaceBack(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		func() {
			defer func() { _ = recover() }()
			_, _ = q.Do(t.Context(), addr("192.0.2.1"), 1, func() bool { panic("broken") })
		}()
		if ok, err := q.Do(t.Context(), addr("192.0.2.1"), 1, costing(0, true)); !ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
	})
}

// What is known of networks is bounded.
func TestGatesAreBounded(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		for i := range 3 * maxGates {
			_, _ = q.Do(t.Context(), addr("10.%d.%d.%d", i>>16, i>>8&255, i&255), 1, costing(0, false))
		}
		if n := len(q.gates); n > maxGates {
			t.Errorf("%d networks are known", n)
		}
	})
}

// A network that has succeeded waits for few of those that have not: not for a crowd whose
// first attempts all fail.
func TestKnownNetworksGoFirst(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		good := addr("192.0.2.1")
		_, _ = q.Do(t.Context(), good, 1, costing(0, true))
		var all sync.WaitGroup
		for i := range 200 {
			for range 3 {
				all.Go(func() { _, _ = q.Do(t.Context(), addr("10.0.0.%d", i), 1, costing(time.Second, false)) })
			}
		}
		synctest.Wait()
		for range 10 {
			start := time.Now()
			if ok, err := q.Do(t.Context(), good, 1, costing(time.Second, true)); !ok || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("an attempt took %v", took)
			}
		}
		all.Wait()
	})
}

// A network that has failed is not starved by those that have not.
func TestFailedNetworksAreNotStarved(t *testing.T) {
	in(t, 1, func(t *testing.T, q *Queue) {
		_, _ = q.Do(t.Context(), addr("192.0.2.1"), 1, costing(0, false))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				for ctx.Err() == nil {
					_, _ = q.Do(ctx, addr("10.0.0.%d", i), 1, costing(time.Second, true))
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		if ok, err := q.Do(t.Context(), addr("192.0.2.1"), 1, costing(time.Second, true)); !ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		cancel()
		all.Wait()
	})
}
