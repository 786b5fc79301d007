//go:build linux

package splice

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/internal/vanish"
	"culvert/tunnel/internal/vanishtest"
)

// openAt is open, for a loop that looks for peers that have vanished at a pace.
func openAt(tb testing.TB, pace vanish.Pace, fromClient string) *tunnel {
	tb.Helper()
	ls := &Loops{finisher: newFinisher()}
	l := must(newLoop(ls.finisher, 1, mostPipes))(tb)
	l.flights.pace = pace
	ls.loops = []*loop{l}
	go ls.finisher.run()
	ls.running.Go(l.run)
	tb.Cleanup(ls.Close)
	return connect(tb, kindTCP, kindTCP).addEarly(ls, Limits{Grace: 10 * time.Millisecond}, fromClient, "")
}

// waitVanished waits for the end of a tunnel whose peer on a side has vanished.
func (tt *tunnel) waitVanished(by End) {
	tt.Helper()
	r := tt.wait()
	if r.First != by || r.Broke != by || !errors.Is(r.Err, syscall.ETIMEDOUT) {
		tt.Errorf("ended with %+v, want ETIMEDOUT by %d", r, by)
	}
}

// A peer that vanishes with bytes on the way to it is found, on both sides, and the other
// side gets a reset.
func TestVanishedPeerIsFound(t *testing.T) {
	for side, name := range []string{client: "client", target: "target"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt := openAt(t, vanishtest.Pace, "")
			ends := []far{tt.client, tt.target}
			say(t, ends[1-side], "before")
			expect(t, ends[side], "before")
			vanishtest.CutOff(t, ends[side])
			say(t, ends[1-side], "after")
			tt.waitVanished(endOf(side))
			if _, err := ends[1-side].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the other side got %v, want a reset", err)
			}
		})
	}
}

// An end of file may be all that the peer has not acknowledged.
func TestVanishedPeerIsFoundInAHalfClosedTunnel(t *testing.T) {
	t.Parallel()
	tt := openAt(t, vanishtest.Pace, "")
	say(t, tt.client, "before")
	expect(t, tt.target, "before")
	vanishtest.CutOff(t, tt.target)
	halfClose(t, tt.client)
	if r := tt.wait(); r.First != EndClient || r.Broke != EndTarget || !errors.Is(r.Err, syscall.ETIMEDOUT) {
		t.Errorf("ended with %+v, want the client's end of file, and then ETIMEDOUT by the target", r)
	}
}

// Bytes that were written before the loop had the sockets are on their way too, for
// example the 2xx.
func TestVanishedPeerIsFoundThatGotNothingFromTheLoop(t *testing.T) {
	t.Parallel()
	ls := &Loops{finisher: newFinisher()}
	l := must(newLoop(ls.finisher, 1, mostPipes))(t)
	l.flights.pace = vanishtest.Pace
	ls.loops = []*loop{l}
	go ls.finisher.run()
	ls.running.Go(l.run)
	t.Cleanup(ls.Close)
	tt := connect(t, kindTCP, kindTCP)
	vanishtest.CutOff(t, tt.client)
	if _, errno := send(int32(tt.near[client]), []byte("HTTP/1.1 200 OK\r\n\r\n")); errno != 0 {
		t.Fatal(errno)
	}
	tt.add(ls, Limits{Grace: 10 * time.Millisecond})
	tt.waitVanished(EndClient)
}

// A peer that reads nothing, but acknowledges the probes of its window, keeps its tunnel
// and every byte, however long.
func TestPeerWithClosedWindowLives(t *testing.T) {
	t.Parallel()
	pace, hold := vanishtest.Pace, vanishtest.ClosedWindow
	if os.Getenv("CULVERT_LONG") != "" {
		pace, hold = vanish.Usual, 5*time.Minute
		vanishLongWait(t)
	}
	tt := openAt(t, pace, "")
	_ = tt.client.SetDeadline(time.Time{})
	_ = tt.target.SetDeadline(time.Time{})
	var sent bytes.Buffer
	block := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	over := make(chan error, 1)
	const size = 32 << 20
	go func() {
		for sent.Len() < size {
			sent.Write(block)
			if _, err := tt.target.Write(block); err != nil {
				over <- err
				return
			}
		}
		over <- tt.target.CloseWrite()
	}()
	tt.stalled()
	select {
	case r := <-tt.results:
		t.Fatalf("the tunnel ended: %+v", r)
	case <-time.After(hold):
	}
	got, err := io.ReadAll(tt.client)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent.Bytes()) {
		t.Errorf("%d bytes of %d came, or others", len(got), sent.Len())
	}
	halfClose(t, tt.client)
	tt.waitFor(EndTarget)
}

// vanishLongWait says why a test takes so long.
func vanishLongWait(t *testing.T) { t.Log("this takes five minutes, because of CULVERT_LONG") }

// An outage that is shorter than the limit ends no tunnel, nor does the time that the
// machine slept: only the time in which the loop has looked counts.
func TestPeerThatComesBackLives(t *testing.T) {
	t.Parallel()
	tt := openAt(t, vanish.Pace{Every: 20 * time.Millisecond, Limit: time.Minute}, "")
	reconnect := vanishtest.CutOff(t, tt.client)
	say(t, tt.target, "late")
	select {
	case r := <-tt.results:
		t.Fatalf("the tunnel ended: %+v", r)
	case <-time.After(300 * time.Millisecond):
	}
	reconnect()
	expect(t, tt.client, "late")
	say(t, tt.client, "and back")
	expect(t, tt.target, "and back")
}

// The flights hold only tunnels with bytes on their way, so that idle ones cost nothing.
func TestFlightsLand(t *testing.T) {
	m := manualLoop(t)
	tt := connect(t, kindTCP, kindTCP).add(m.Loops, Limits{})
	say(t, tt.client, "hello")
	eventually(t, "the bytes have come", func() bool { m.step(); up, _ := tt.Counts(); return up == 5 })
	expect(t, tt.target, "hello")
	if len(m.flights.all) != 1 || tt.flight != 0 || m.flights.due == 0 {
		t.Fatalf("%d flights, next look at %d", len(m.flights.all), m.flights.due)
	}
	eventually(t, "it has landed", func() bool { m.advance(time.Minute); return m.flights.due == 0 })
	if len(m.flights.all) != 0 || tt.flight != -1 {
		t.Errorf("%d flights", len(m.flights.all))
	}
	tt.mustLive()
}
