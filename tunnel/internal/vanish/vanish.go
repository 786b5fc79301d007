// Package vanish tells whether the peer of a TCP connection has vanished while bytes are
// on their way to it. Keepalive does not find such a peer, because the kernel sends no
// probes while bytes are unacknowledged, and gives up on those only after a quarter of
// an hour.
//
// On Linux a Watch looks at one socket from time to time. TCP_USER_TIMEOUT will not do:
// it also ends a connection whose peer keeps its window closed and acknowledges every
// probe, as a suspended program does. On macOS and Windows SetOptions asks the kernel to
// give up on retransmissions in time; on other systems nothing is done.
//
// The package imports nothing of this module.
package vanish

import "time"

// Pace says when a peer has vanished.
type Pace struct {
	// Every is the interval at which a socket is looked at while bytes are on their
	// way.
	Every time.Duration

	// Limit is how long nothing may have come from the peer, no acknowledgement
	// either. It must be longer than the longest pause between two probes of a closed
	// window, which is two minutes on Linux.
	Limit time.Duration
}

// Usual is the Pace of all connections: a peer that vanishes is found within Limit and
// two looks. Only tests change it, before they open a connection.
var Usual = Pace{Every: 10 * time.Second, Limit: 150 * time.Second}

// State is what a look at a socket found.
type State uint8

// The states of a socket.
const (
	Empty   State = iota // no bytes are on their way; the Watch need not look before more are written
	Pending              // bytes are on their way, and the peer may be there
	Gone                 // bytes are on their way, and the peer has vanished
)
