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
