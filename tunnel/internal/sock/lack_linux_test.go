package sock_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"

	"golang.org/x/sys/unix"
)

// inNamespace runs test on a thread in a network namespace of its own, in which lo is up.
// That takes privileges.
func inNamespace(t *testing.T, test func()) {
	t.Helper()
	skip := make(chan error)
	go func() {
		defer close(skip)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			skip <- err
			return
		}
		if err := upLoopback(); err != nil {
			t.Error(err)
			return
		}
		test()
	}()
	if err := <-skip; err != nil {
		t.Skip("no network namespace: ", err)
	}
}

func upLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// When all local ports towards an address are in use, that is this machine's lack; other
// addresses can still be reached, and it ends when a port is free.
func TestLocalPortsUsedUp(t *testing.T) {
	inNamespace(t, func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40003"), 0); err != nil {
			t.Error(err)
			return
		}
		l, err := net.Listen("tcp", "0.0.0.0:5000")
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		connect := func(addr string) (net.Conn, error) {
			return sock.Connect(context.Background(), netip.MustParseAddrPort(addr))
		}
		var conns []net.Conn
		defer func() {
			for _, conn := range conns {
				conn.Close()
			}
		}()
		for len(conns) <= 4 && err == nil {
			var conn net.Conn
			if conn, err = connect("127.0.0.1:5000"); err == nil {
				conns = append(conns, conn)
			}
		}
		if len(conns) != 4 || neterr.Lack(err) != "no local port is left for another connection to this address" {
			t.Errorf("after %d connections: %v", len(conns), err)
			return
		}
		other, err := connect("127.0.0.2:5000")
		if err != nil {
			t.Errorf("another address: %v", err)
			return
		}
		other.Close()
	})
}

// Where IPv6 is off, a connect by it fails with the same error of the kernel, but no port
// is lacking.
func TestNoSourceAddressIsNoLackOfPorts(t *testing.T) {
	inNamespace(t, func() {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
			return // this machine has no IPv6 at all
		}
		if _, err := sock.Connect(context.Background(), netip.MustParseAddrPort("[::1]:5000")); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%v, want that the network is unreachable", err)
		}
	})
}
