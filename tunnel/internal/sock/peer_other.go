//go:build !linux

package sock

import "net"

// Peer is what is known of a connection's other end without reading.
type Peer struct {
	Ended bool // it has ended its side
	Reset bool // it has broken the connection
	Held  bool // there are bytes of it that were not read
}

// PeerOf returns what this host knows of a socket's peer: on this system, nothing.
func PeerOf(net.Conn) Peer { return Peer{} }
