//go:build !linux

package sock

import (
	"net"
	"syscall"
)

// RawOf returns nil on this system: bytes are copied, not spliced.
func RawOf(net.Conn) syscall.RawConn { return nil }

// IdleDescriptors returns 0 on this system, which has no pipes for splice(2).
func IdleDescriptors() int { return 0 }

// LimitPipes does nothing on this system.
func LimitPipes(int) {}

// ClientWaits reports whether a client waits for Accept, as far as that can be told:
// on this system always.
func ClientWaits(net.Listener) bool { return true }
