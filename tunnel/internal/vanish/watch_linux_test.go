package vanish_test

import (
	"net"
	"testing"
	"time"

	"culvert/tunnel/internal/vanish"
	"culvert/tunnel/internal/vanishtest"
)

// A machine that slept, and a process that was stopped, has heard from nobody, so the
// silence counts anew when the looks have paused.
func TestSilenceCountsOnlyWhileLookedAt(t *testing.T) {
	t.Parallel()
	near, far := pair(t)
	vanishtest.CutOff(t, far)
	if _, err := near.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	pace := vanish.Pace{Every: 100 * time.Millisecond, Limit: 300 * time.Millisecond}
	watch := func() func(after time.Duration) vanish.State {
		w, now := new(vanish.Watch), time.Second
		return func(after time.Duration) (state vanish.State) {
			raw, err := near.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			now += after
			raw.Control(func(fd uintptr) { state = w.Look(int(fd), now, pace) })
			return state
		}
	}
	// The kernel's clock cannot be moved. Once it says that the limit has passed, the
	// states depend on the looks alone.
	for look := watch(); look(pace.Every) != vanish.Gone; time.Sleep(time.Millisecond) {
	}
	look := watch()
	for i, step := range []struct {
		after time.Duration
		want  vanish.State
	}{
		{0, vanish.Pending}, // the first look
		{pace.Every, vanish.Pending},
		{time.Hour, vanish.Pending}, // slept
		{pace.Every, vanish.Pending},
		{pace.Every, vanish.Pending},
		{pace.Every, vanish.Gone},
	} {
		if got := look(step.after); got != step.want {
			t.Fatalf("look %d: %d, want %d", i, got, step.want)
		}
	}
}

// Where nothing is on its way, or the connection has ended, there is nothing to look at.
func TestNothingOnItsWay(t *testing.T) {
	t.Parallel()
	near, far := pair(t)
	state := func() (state vanish.State) {
		raw, err := near.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { state = new(vanish.Watch).Look(int(fd), time.Hour, vanish.Usual) })
		return state
	}
	if got := state(); got != vanish.Empty {
		t.Errorf("an idle connection: %d", got)
	}
	if err := far.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	far.Close()
	near.Read(make([]byte, 1)) // returns when the reset has come
	if got := state(); got != vanish.Empty {
		t.Errorf("a connection that was reset: %d", got)
	}
}

func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}
