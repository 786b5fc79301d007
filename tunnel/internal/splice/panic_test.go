//go:build linux

package splice

import (
	"testing"

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
