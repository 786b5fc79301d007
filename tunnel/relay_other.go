//go:build !linux

package tunnel

import (
	"time"
)

// socketDirection holds what a direction needs to work on sockets themselves:
// nothing where splice(2) does not exist.
type socketDirection struct{}

func (*socketDirection) init(*relayDirection) {}

func (d *relayDirection) copy() (eof bool) { return d.copyConn() }

func (*relayEnd) pendingError() error { return nil }

// awaitSent gives queued bytes a moment before a reset destroys them. Without
// a portable way to see the queue that is a fixed one.
func awaitSent(_ tcpConn, until time.Time, _ func() bool) {
	time.Sleep(min(time.Until(until), 100*time.Millisecond))
}
