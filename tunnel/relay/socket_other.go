//go:build !linux

package relay

import (
	"time"

	"culvert/tunnel/internal/sock"
)

// socketDirection holds what a direction needs to work on sockets themselves:
// nothing where splice(2) does not exist.
type socketDirection struct{}

func (*socketDirection) init(*direction) {}

func (d *direction) copy() (eof bool) { return d.copyConn() }

func (*end) pendingError() error { return nil }

// awaitSent gives queued bytes a moment before a reset destroys them. Without
// a portable way to see the queue that is a fixed one.
func awaitSent(_ sock.TCP, until time.Time, _ func() bool) {
	time.Sleep(min(time.Until(until), 100*time.Millisecond))
}
