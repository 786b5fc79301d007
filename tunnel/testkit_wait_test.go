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
