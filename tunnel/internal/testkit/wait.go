package testkit

import (
	"runtime"
	"testing"
	"time"
)

// Patience bounds every wait of the relay's tests; none is that long
// unless the test fails.
const Patience = time.Minute

// Eventually waits for something that no event tells of.
func Eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for until := time.Now().Add(Patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			tb.Fatal("still not so: " + what)
		}
	}
}

// GoMemory returns the bytes in use by objects and by stacks.
func GoMemory() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // the pools let go at the second
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse)
}

// Await waits until done is closed, or fails the test after Patience.
func Await(tb testing.TB, what string, done <-chan struct{}) {
	tb.Helper()
	select {
	case <-done:
	case <-time.After(Patience):
		tb.Fatal("still waiting for " + what)
	}
}

// Receive returns the next value from a channel, or fails the test after Patience.
func Receive[T any](tb testing.TB, what string, from <-chan T) T {
	tb.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Patience):
		tb.Fatal("still waiting for " + what)
		panic("not reached")
	}
}

const BriefWait = 50 * time.Millisecond

const LongWait = 20 * time.Second // stands in the golden reports

// WithLimits tries with limits that grow until ok: a short one may run out, on a
// busy machine, before all has come that is to come within it.
func WithLimits(ok func(limit time.Duration, last bool) bool) {
	const most = 100 * BriefWait
	for limit := 2 * BriefWait; !ok(limit, limit >= most); limit *= 5 {
		if limit >= most {
			return
		}
	}
}
