package stdio

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/internal/vanish"
	"culvert/tunnel/internal/vanishtest"

	"golang.org/x/sys/unix"
)

func init() { vanish.Usual = vanishtest.Pace }

// vanishingTunnel returns a tunnel whose target vanishes before it has read anything.
func vanishingTunnel(t *testing.T) *client.Conn {
	t.Helper()
	gone, over := make(chan net.Conn), make(chan struct{})
	conn := tunnelTo(t, func(conn net.Conn) {
		if within, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = within.NetConn()
		}
		gone <- conn
		<-over
	})
	t.Cleanup(func() { close(over) })
	vanishtest.CutOff(t, testkit.Receive(t, "the target's connection", gone).(syscall.Conn))
	return conn
}

// wantVanished checks the error of a tunnel whose target has vanished.
func wantVanished(t *testing.T, err error) {
	t.Helper()
	var e *tunnel.Error
	if !errors.As(err, &e) || e.Phase != tunnel.PhaseRelay || !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("%v, want a *tunnel.Error of the relay with ETIMEDOUT", err)
	}
}

// A target that vanishes with bytes on their way to it ends the tunnel, whether the input
// goes on or has ended.
func TestVanishedTargetIsFound(t *testing.T) {
	for name, ends := range map[string]bool{"input open": false, "input ended": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, feed, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { in.Close(); feed.Close() })
			io.WriteString(feed, "a keystroke")
			if ends {
				feed.Close()
			}
			_, err = relayed(t, Tunnel{Conn: vanishingTunnel(t), In: in, Out: io.Discard})
			wantVanished(t, err)
		})
	}
}

func TestVanishedTargetOfACommandIsFound(t *testing.T) {
	t.Parallel()
	_, err := Exec(exec.Command("sh", "-c", "echo a line; read answer; exit 0"), vanishingTunnel(t))
	wantVanished(t, err)
}

// The program that gets a socket handed over may not look for a peer that has vanished,
// so the kernel has to.
func TestHandedOverSocketFindsVanishedPeer(t *testing.T) {
	t.Parallel()
	near, _ := testkit.TCPPair(t)
	raw, err := near.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	probe := func(fd uintptr) { _, err = unix.GetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_RTO_MAX_MS) }
	if raw.Control(probe); err != nil {
		t.Skip("this kernel has no TCP_RTO_MAX_MS: ", err)
	}
	ours, theirs := sshSockets(t)
	if err := sendSocket(ours, raw); err != nil {
		t.Fatal(err)
	}
	socket := received(t, theirs)
	limit, err := unix.GetsockoptInt(int(socket.Fd()), unix.SOL_TCP, unix.TCP_RTO_MAX_MS)
	if err != nil || limit != 15_000 {
		t.Errorf("retransmissions are at most %d ms apart, %v", limit, err)
	}
}
