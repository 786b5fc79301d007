// Package leak checks that the tests of a package leave no goroutine and no descriptor
// behind. Only tests import it, and it imports no other package of this module.
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

// patience bounds the wait for goroutines and descriptors to go away.
const patience = time.Minute

// Main runs the tests of a package and exits, with 1 if they passed but left something
// behind. pooled returns the number of descriptors that are kept open on purpose; nil =
// none. The functions in last are called after the tests, to close what they shared.
func Main(m *testing.M, pooled func() int, last ...func()) {
	// The runtime opens descriptors of its own at the first use of the network.
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

// isFuzzing reports whether the fuzzing engine runs, which leaves goroutines of its own.
func isFuzzing() bool { return flag.Lookup("test.fuzz").Value.String() != "" }

// waitTogether lets more parallel tests run at once than there are processors, because most
// of them only wait for timeouts. An explicit -parallel flag is left alone, as is fuzzing's.
func waitTogether() {
	flag.Parse()
	given := isFuzzing()
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if most := 8; !given && runtime.GOMAXPROCS(0) < most {
		_ = flag.Set("test.parallel", strconv.Itoa(most))
	}
}

// Resources are the resources that a process has in use.
type Resources struct {
	Goroutines  int
	Descriptors int        // -1 where they cannot be counted
	pooled      func() int // returns how many descriptors do not count; nil = none
}

// InUse returns the resources in use, without as many descriptors as pooled returns; nil =
// none.
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

// AwaitReturn waits until no more is in use than before, and returns "". If that takes too
// long it returns a message with the stacks of all goroutines. kept returns the number of
// goroutines that may stay; nil = none.
func (before Resources) AwaitReturn(kept func() int) string {
	var more Resources
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(patience); time.Now().Before(until); <-tick.C {
		runtime.GC() // which closes the pipes that package net keeps for splice(2)
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
