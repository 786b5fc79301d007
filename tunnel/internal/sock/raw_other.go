//go:build !linux

package sock

import (
	"net"
	"syscall"
)

func RawOf(net.Conn) syscall.RawConn { return nil }

// IdleDescriptors is how many descriptors the pipes that nobody uses keep open: here
// are no pipes.
func IdleDescriptors() int { return 0 }
