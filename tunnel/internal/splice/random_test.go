//go:build linux

package splice

import (
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// Stops from several goroutines race with the end of the peers.
func TestStopRacesWithTheEnd(t *testing.T) {
	ls := must(Start(2, 0))(t)
	var all []*tunnel
	var busy sync.WaitGroup
	for range 300 {
		tt := connect(t, kindUnix, kindUnix).add(ls, Limits{Idle: time.Hour, Linger: time.Hour})
		all = append(all, tt)
		busy.Go(func() { _, _ = tt.client.Close(), tt.target.Close() })
		for code := range uint8(2) {
			busy.Go(func() { tt.Stop(code) })
		}
	}
	busy.Wait()
	for _, tt := range all {
		if r := tt.wait(); r.First != EndStopped && r.First != EndClient && r.First != EndTarget {
			t.Errorf("%+v", r)
		}
	}
	ls.Close()
	for _, tt := range all {
		if len(tt.results) != 0 {
			t.Fatal("done was called twice")
		}
	}
}

// Thousands of tunnels end in random ways. After an orderly end the counts must be exact;
// after any other they must not be below the bytes that arrived.
func TestManyEndedAtRandomLeaveNothing(t *testing.T) {
	before := openDescriptors()
	ls := must(Start(2, 0))(t)
	for range 20 {
		var busy sync.WaitGroup
		for i := range 100 {
			tt := connect(t, pairs[i%len(pairs)][0], pairs[i%len(pairs)][1]).add(ls, Limits{Idle: time.Hour, Linger: time.Hour})
			busy.Go(func() { endAtRandom(tt, i) })
		}
		busy.Wait()
	}
	eventually(t, "no tunnel is open", func() bool { return ls.Open() == 0 })
	if open, free := ls.Pipes(); open != free {
		t.Errorf("%d of %d pipes were not given back", open-free, open)
	}
	ls.Close()
	if after := openDescriptors(); after > before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func endAtRandom(tt *tunnel, i int) {
	defer tt.client.Close()
	defer tt.target.Close()
	var sent, received [2]int64
	var busy sync.WaitGroup
	ends := [2]far{tt.client, tt.target}
	for way := range ends {
		size := rand.Int64N(1 << (1 + rand.IntN(22)))
		busy.Go(func() {
			sent[way], _ = io.Copy(struct{ io.Writer }{ends[way]}, io.LimitReader(endless{}, size))
			finish(tt, ends[way], i)
		})
		busy.Go(func() { received[way], _ = io.Copy(struct{ io.Writer }{io.Discard}, ends[1-way]) })
	}
	r := tt.wait()
	busy.Wait()
	counted := [2]int64{r.Up, r.Down}
	if i%4 == 0 && (r.Err != nil || counted != sent || counted != received) {
		tt.Errorf("%+v, but %v was sent and %v received", r, sent, received)
	}
	if received[0] > counted[0] || received[1] > counted[1] {
		tt.Errorf("%+v, but %v was received", r, received)
	}
}

// finish ends a tunnel in the way numbered i, after that side has sent its bytes.
func finish(tt *tunnel, side far, i int) {
	switch i % 4 {
	case 0:
		_ = side.CloseWrite()
	case 1:
		tt.Stop(1)
	case 2:
		reset(side)
	case 3:
		_ = side.Close()
	}
}
