package sock_test

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/internal/vanish"
	"culvert/tunnel/internal/vanishtest"
)

func init() { vanish.Usual = vanishtest.Pace }

// A parked connection whose peer has vanished fails with ETIMEDOUT, as after keepalive,
// in every operation: through the Conn and through its descriptor, those that wait and
// those that begin later.
func TestVanishedPeerIsFound(t *testing.T) {
	t.Parallel()
	operations := map[string]func(near *sock.Conn) error{
		"Read": func(near *sock.Conn) error {
			_, err := near.Read(make([]byte, 1))
			return err
		},
		"Write": func(near *sock.Conn) error {
			_, err := near.Write(make([]byte, 64<<20))
			return err
		},
		"the descriptor's Read": func(near *sock.Conn) error {
			raw, err := near.SyscallConn()
			if err != nil {
				return err
			}
			return raw.Read(func(uintptr) bool { return false })
		},
		"the descriptor's Write": func(near *sock.Conn) error {
			raw, err := near.SyscallConn()
			if err != nil {
				return err
			}
			return raw.Write(func(uintptr) bool { return false })
		},
	}
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near, far := connPair(t)
			vanishtest.CutOff(t, far)
			if _, err := near.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := operation(near); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Fatalf("%v, want ETIMEDOUT", err)
				}
				near.SetDeadline(time.Time{}) // changes nothing
			}
			if !near.Lost() {
				t.Error("it is not lost")
			}
		})
	}
}

// A peer that reads nothing keeps its connection as long as it acknowledges the probes
// of its window.
func TestPeerWithClosedWindowLives(t *testing.T) {
	t.Parallel()
	near, far := connPair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	over := make(chan error, 1)
	go func() {
		_, err := near.Write(sent)
		over <- errors.Join(err, near.CloseWrite())
	}()
	select {
	case err := <-over:
		t.Fatal("the write has ended: ", err)
	case <-time.After(vanishtest.ClosedWindow):
	}
	far.SetDeadline(time.Time{})
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if err := <-over; err != nil {
		t.Fatal(err)
	}
}

// Only connections with bytes on their way are watched, and none after it was closed or
// detached.
func TestOnlyConnsWithBytesOnTheirWayAreWatched(t *testing.T) {
	near, far := connPair(t)
	if _, err := near.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	if !near.Watched() {
		t.Error("it is in the poller, and not watched until it was looked at")
	}
	testkit.Eventually(t, "it is not watched, since nothing is on its way", func() bool { return !near.Watched() })
	vanishtest.CutOff(t, far)
	if _, err := near.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if !near.Watched() {
		t.Error("it is not watched with bytes on their way")
	}
	near.Close()
	if near.Watched() {
		t.Error("it is watched though it is closed")
	}
}
