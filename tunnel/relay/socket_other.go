//go:build !linux

package relay

import (
	"time"

	"culvert/tunnel/internal/sock"
)

// socketDirection is the state of a direction that reads from a descriptor, which
// none does on a system without splice(2).
type socketDirection struct{}

func (*socketDirection) init(*direction) {}

func (d *direction) copy() (eof bool) { return d.copyConn() }

func (*end) pendingError() error { return nil }

// awaitSent gives queued bytes some time before a reset destroys them. The time is
// fixed, since there is no portable way to inspect the send queue.
func awaitSent(_ sock.TCP, until time.Time, _ func() bool) {
	time.Sleep(min(time.Until(until), 100*time.Millisecond))
}
