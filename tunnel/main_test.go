package tunnel

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

// TestMain checks that the tests leave no goroutine and no descriptor behind.
func TestMain(m *testing.M) {
	// What the runtime opens for itself at the first use of the network.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	waitTogether()
	before := usage(nil)
	code := m.Run()
	closeTestLoops()
	// The fuzzing engine leaves goroutines of its own.
	if fuzz := flag.Lookup("test.fuzz"); code == 0 && fuzz.Value.String() == "" {
		if leak := before.awaitReturn(func() int { return 0 }); leak != "" {
			fmt.Fprintln(os.Stderr, leak)
			code = 1
		}
	}
	os.Exit(code)
}

// waitTogether lets more of the parallel tests run at once than there are
// processors: they wait for timeouts, and take little else. A -parallel that is
// given counts, and while fuzzing it is the number of processes.
func waitTogether() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" || f.Name == "test.fuzz" })
	if most := 8; !given && runtime.GOMAXPROCS(0) < most {
		_ = flag.Set("test.parallel", strconv.Itoa(most))
	}
}

// resources is what a process must give back; descriptors is -1 where they
// cannot be counted.
type resources struct {
	goroutines, descriptors int
	loops                   *relayLoops // whose idle pipes do not count; may be nil
}

func usage(loops *relayLoops) resources {
	u := resources{runtime.NumGoroutine(), -1, loops}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.descriptors = len(entries) - 1 - pooledDescriptors(loops)
	}
	return u
}

// awaitReturn waits until no more is in use than before, and tells what is.
// kept are goroutines that may stay.
func (before resources) awaitReturn(kept func() int) string {
	var now resources
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for until := time.Now().Add(testPatience); time.Now().Before(until); <-look.C {
		runtime.GC() // package net's own pipes for splice(2) wait for it
		if now = usage(before.loops); now.goroutines-kept() <= before.goroutines && now.descriptors <= before.descriptors {
			return ""
		}
	}
	stacks := make([]byte, 1<<20)
	return fmt.Sprintf("left behind: %d goroutines and %d descriptors\n%s",
		now.goroutines-kept()-before.goroutines, now.descriptors-before.descriptors, stacks[:runtime.Stack(stacks, true)])
}
