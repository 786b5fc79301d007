//go:build linux

// Package vanishtest makes peers vanish, for the tests of packages that find out. Only
// tests import it; it imports nothing of this module but package vanish.
package vanishtest

import (
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/internal/vanish"

	"golang.org/x/sys/unix"
)

// Pace is a vanish.Pace for tests. A window that is closed is probed after 0.2 seconds,
// 0.6, 1.4, 3.0 and 6.2: a peer that closes it for ClosedWindow is silent for longer than
// the Limit if acknowledgements of probes do not count, and never if they do.
var Pace = vanish.Pace{Every: 100 * time.Millisecond, Limit: 2 * time.Second}

// ClosedWindow is how long a test keeps a window closed.
const ClosedWindow = 2900 * time.Millisecond

// CutOff makes the end of a connection drop every packet that comes, so that to its peer
// it has vanished. It needs no privilege. Reconnect undoes it.
func CutOff(tb testing.TB, conn syscall.Conn) (reconnect func()) {
	tb.Helper()
	// It would repeat what is not acknowledged.
	for left := 1; left > 0; time.Sleep(time.Millisecond) {
		control(tb, conn, func(fd int) (err error) {
			left, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
			return err
		})
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	control(tb, conn, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	})
	return func() {
		control(tb, conn, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
	}
}

func control(tb testing.TB, conn syscall.Conn, f func(fd int) error) {
	tb.Helper()
	raw, err := conn.SyscallConn()
	if err == nil {
		if failed := raw.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
			err = failed
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
}
