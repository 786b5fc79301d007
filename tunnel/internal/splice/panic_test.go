//go:build linux

package splice

import (
	"testing"
	"time"

	"culvert/tunnel/internal/panics"
)

// A panic while the loop works for one tunnel ends that tunnel, and the loop goes on.
func TestPanicEndsItsTunnelOnly(t *testing.T) {
	reported := 0
	panics.Handle(func(panics.Report) { reported++ })
	defer panics.Handle(nil)
	m := manualLoop(t)
	broken, whole := m.open(t, Limits{}), m.open(t, Limits{})
	m.loop.step(broken.Tunnel, func(*loop, *Tunnel) { panic("a bug") })
	m.step()
	if result := broken.wait(); result.First != EndFailed {
		t.Errorf("the tunnel of the panic: %+v", result)
	}
	say(t, whole.client, "still there")
	m.step()
	expect(t, whole.target, "still there")
	whole.mustLive()
	if reported != 1 {
		t.Errorf("%d panics were reported", reported)
	}
}

// The same if its tunnel cannot be ended in order.
func TestPanicTwice(t *testing.T) {
	reported := 0
	panics.Handle(func(panics.Report) { reported++ })
	defer panics.Handle(nil)
	m := manualLoop(t)
	broken, whole := m.open(t, Limits{Idle: time.Hour}), m.open(t, Limits{Idle: time.Hour})
	m.step() // sets the timers
	broken.Tunnel.timer = 1000
	m.loop.step(broken.Tunnel, func(*loop, *Tunnel) { panic("a bug") })
	m.step()
	if result := broken.wait(); result.First != EndFailed {
		t.Errorf("the tunnel of the panics: %+v", result)
	}
	if n := len(m.loop.timers); n != 1 || m.loop.timers[0] != whole.Tunnel || whole.Tunnel.timer != 0 {
		t.Errorf("%d timers are left", n)
	}
	say(t, whole.client, "still there")
	m.step()
	expect(t, whole.target, "still there")
	whole.mustLive()
	if reported != 2 {
		t.Errorf("%d panics were reported", reported)
	}
}
