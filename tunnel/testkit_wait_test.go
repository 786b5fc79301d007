package tunnel

import (
	"runtime"
	"testing"
	"time"
)

// testPatience bounds every wait of the relay's tests; none is that long
// unless the test fails.
const testPatience = time.Minute

// eventually waits for something that no event tells of.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for until := time.Now().Add(testPatience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			tb.Fatal("still not so: " + what)
		}
	}
}

// goMemory returns the bytes in use by objects and by stacks.
func goMemory() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // the pools let go at the second
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse)
}

func await(tb testing.TB, what string, done <-chan struct{}) {
	tb.Helper()
	select {
	case <-done:
	case <-time.After(testPatience):
		tb.Fatal("still waiting for " + what)
	}
}

func receive[T any](tb testing.TB, what string, from <-chan T) T {
	tb.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(testPatience):
		tb.Fatal("still waiting for " + what)
		panic("not reached")
	}
}

const briefWait = 50 * time.Millisecond

const longWait = 20 * time.Second // stands in the golden reports

// withLimits tries with limits that grow until ok: a short one may run out, on a
// busy machine, before all has come that is to come within it.
func withLimits(ok func(limit time.Duration, last bool) bool) {
	const most = 100 * briefWait
	for limit := 2 * briefWait; !ok(limit, limit >= most); limit *= 5 {
		if limit >= most {
			return
		}
	}
}
