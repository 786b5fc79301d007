// Package leak checks that a package's tests leave no goroutine and no descriptor
// behind. It is for tests alone.
package leak

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// patience bounds the wait for what is to be given back.
const patience = time.Minute

// Main runs a package's tests and exits: with 1 if they passed but left something
// behind. pooled counts the descriptors that the package keeps open on purpose, nil =
// none; last is called after the tests, to close what they shared.
func Main(m *testing.M, pooled func() int, last ...func()) {
	// What the runtime opens for itself at the first use of the network.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	waitTogether()
	before := InUse(pooled)
	code := m.Run()
	for _, f := range last {
		f()
	}
	if code == 0 && !isFuzzing() {
		if left := before.AwaitReturn(nil); left != "" {
			fmt.Fprintln(os.Stderr, left)
			code = 1
		}
	}
	os.Exit(code)
}

// isFuzzing reports whether this is a run of the fuzzing engine, which leaves
// goroutines of its own.
func isFuzzing() bool { return flag.Lookup("test.fuzz").Value.String() != "" }

// waitTogether lets more of the parallel tests run at once than there are
// processors: they wait for timeouts, and take little else. A -parallel that is
// given counts, and fuzzing has its own.
func waitTogether() {
	flag.Parse()
	given := isFuzzing()
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if most := 8; !given && runtime.GOMAXPROCS(0) < most {
		_ = flag.Set("test.parallel", strconv.Itoa(most))
	}
}

// Resources is what a process has in use.
type Resources struct {
	Goroutines  int
	Descriptors int // -1 where they cannot be counted
	pooled      func() int
}

// InUse counts what is in use now, without the descriptors that pooled counts.
func InUse(pooled func() int) Resources {
	u := Resources{runtime.NumGoroutine(), -1, pooled}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.Descriptors = len(entries) - 1
		if pooled != nil {
			u.Descriptors -= pooled()
		}
	}
	return u
}

// AwaitReturn waits until no more is in use than before, and returns what is left,
// "" for nothing. kept counts goroutines that may stay; nil = none.
func (before Resources) AwaitReturn(kept func() int) string {
	var more Resources
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for until := time.Now().Add(patience); time.Now().Before(until); <-look.C {
		runtime.GC() // package net's own pipes for splice(2) wait for it
		now := InUse(before.pooled)
		more.Goroutines, more.Descriptors = now.Goroutines-before.Goroutines, now.Descriptors-before.Descriptors
		if kept != nil {
			more.Goroutines -= kept()
		}
		if more.Goroutines <= 0 && more.Descriptors <= 0 {
			return ""
		}
	}
	stacks := make([]byte, 1<<20)
	return fmt.Sprintf("left behind: %d goroutines and %d descriptors\n%s",
		more.Goroutines, more.Descriptors, stacks[:runtime.Stack(stacks, true)])
}
