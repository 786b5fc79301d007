package testkit

import (
	"runtime"
	"testing"
	"time"
)

// Patience bounds waits. None takes as long unless the test fails.
const Patience = time.Minute

// Eventually waits for a condition of which there is no event. what names it in a failure.
func Eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for until := time.Now().Add(Patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			tb.Fatal("still not so: " + what)
		}
	}
}

// GoMemory returns the bytes in use by objects and by stacks after a garbage collection.
func GoMemory() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // the second one empties the pools
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse)
}

// Await waits until done is closed. what names it in a failure.
func Await(tb testing.TB, what string, done <-chan struct{}) {
	tb.Helper()
	select {
	case <-done:
	case <-time.After(Patience):
		tb.Fatal("still waiting for " + what)
	}
}

// Receive waits for a value. what names it in a failure.
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

// BriefWait is a timeout that a test waits for.
const BriefWait = 50 * time.Millisecond

// LongWait is a timeout that a test does not wait for. Golden reports contain it.
const LongWait = 20 * time.Second

// WithLimits calls ok with growing limits until it returns true: on a busy machine a short
// limit may pass before everything has arrived. last says that no larger limit follows.
func WithLimits(ok func(limit time.Duration, last bool) bool) {
	const most = 100 * BriefWait
	for limit := 2 * BriefWait; !ok(limit, limit >= most); limit *= 5 {
		if limit >= most {
			return
		}
	}
}
