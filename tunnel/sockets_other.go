//go:build !linux

package tunnel

import (
	"net"
	"syscall"
)

func socketOf(net.Conn) syscall.RawConn { return nil }
