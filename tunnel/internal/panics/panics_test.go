package panics

import (
	"strings"
	"sync"
	"testing"
)

// A panic is reported with its place, ends what it has to, and goes no further.
func TestRecover(t *testing.T) {
	var got []Report
	Handle(func(r Report) { got = append(got, r) })
	defer Handle(nil)
	ended := 0
	var all sync.WaitGroup
	for _, value := range []any{"first", error(nil), "second"} {
		all.Go(func() {
			defer Recover("a test", func() { ended++ })
			if value != nil {
				panic(value)
			}
		})
		all.Wait()
	}
	if len(got) != 2 || ended != 2 {
		t.Fatalf("%d reports, ended %d times", len(got), ended)
	}
	for i, want := range []string{"first", "second"} {
		if r := got[i]; r.Value != want || r.Where != "a test" || !strings.Contains(r.Stack, "TestRecover") || r.Count != got[0].Count+int64(i) {
			t.Errorf("report %d: %+v", i, r)
		}
	}
}
