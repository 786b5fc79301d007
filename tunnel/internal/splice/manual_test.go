//go:build linux

package splice

import (
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manual is a loop without a goroutine: the test makes it work, and moves its time. Over
// unix sockets the loop can read at once what a peer has written.
type manual struct {
	*Loops
	*loop
}

func manualLoop(t *testing.T) *manual {
	t.Helper()
	m := &manual{Loops: &Loops{finisher: newFinisher()}}
	m.loop = must(newLoop(m.Loops.finisher, 1, mostPipes))(t)
	m.loops = []*loop{m.loop}
	go m.Loops.finisher.run()
	t.Cleanup(func() {
		m.loop.close()
		m.step()
		m.free()
		m.Loops.finisher.close()
	})
	return m
}

// round makes the loop work once, on the events that have occurred.
func (m *manual) round() { m.work(poll(m.epoll, m.events)) }

// step makes the loop work until there is nothing left to do.
func (m *manual) step() {
	for {
		n := poll(m.epoll, m.events)
		m.work(n)
		if n == 0 && m.ready.len == 0 {
			return
		}
	}
}

func (m *manual) advance(d time.Duration) {
	m.start = m.start.Add(-d)
	m.step()
}

func (m *manual) open(t *testing.T, limits Limits) *tunnel {
	t.Helper()
	tt := connect(t, kindUnix, kindUnix).add(m.Loops, limits)
	m.step()
	return tt
}

func (tt *tunnel) mustLive() {
	tt.Helper()
	if tt.state.Load() != live {
		tt.Fatalf("the tunnel is over: %+v", tt.wait())
	}
}

func TestIdleMeansBothWaysSilent(t *testing.T) {
	for _, speaker := range []int{client, target} {
		m := manualLoop(t)
		tt := m.open(t, Limits{Idle: time.Minute})
		for range 3 {
			m.advance(50 * time.Second)
			say(t, []far{tt.client, tt.target}[speaker], "keep")
			m.step()
		}
		m.advance(50 * time.Second)
		tt.mustLive()
		m.advance(20 * time.Second)
		tt.waitFor(EndIdle)
	}
}

func TestLingerBoundsTheSecondHalf(t *testing.T) {
	m := manualLoop(t)
	tt := m.open(t, Limits{Linger: time.Minute})
	m.advance(time.Hour) // neither way has ended: there is no limit
	halfClose(t, tt.client)
	for range 3 {
		m.step()
		m.advance(50 * time.Second)
		say(t, tt.target, "progress")
	}
	m.step()
	m.advance(50 * time.Second)
	tt.mustLive()
	m.advance(20 * time.Second)
	tt.waitFor(EndLinger)
}

// Bytes that are not read are no progress.
func TestStalledHalfIsNoProgress(t *testing.T) {
	m := manualLoop(t)
	tt := m.open(t, Limits{Linger: time.Minute})
	halfClose(t, tt.client)
	_ = tt.target.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = io.Copy(tt.target, endless{})
	m.step()
	m.advance(50 * time.Second)
	tt.mustLive()
	m.advance(20 * time.Second)
	tt.waitFor(EndLinger)
}

func TestIdleAlsoBoundsHalfATunnel(t *testing.T) {
	m := manualLoop(t)
	tt := m.open(t, Limits{Idle: time.Minute, Linger: time.Hour})
	halfClose(t, tt.client)
	m.step()
	m.advance(61 * time.Second)
	tt.waitFor(EndIdle)
}

// A loop wakes by itself only if a limit is in force for a tunnel.
func TestTimersAreSetOnlyWhileALimitIsInForce(t *testing.T) {
	m := manualLoop(t)
	tt := m.open(t, Limits{Linger: time.Minute})
	say(t, tt.client, "talk")
	m.step()
	before := len(m.timers)
	halfClose(t, tt.client)
	m.step()
	during := len(m.timers)
	halfClose(t, tt.target)
	m.step()
	tt.waitFor(EndClient)
	if after := len(m.timers); before != 0 || during != 1 || after != 0 {
		t.Errorf("%d timers at first, %d after a half-close, %d after the end", before, during, after)
	}
}

// Many timers fire in another order than they were set, and some are removed before.
func TestTimersFireInOrder(t *testing.T) {
	m := manualLoop(t)
	var all []*tunnel
	for i := range 20 {
		all = append(all, m.open(t, Limits{Idle: time.Duration(1+i*7%20) * time.Minute}))
	}
	for i := 0; i < len(all); i += 3 {
		all[i].Stop(0)
	}
	m.step()
	for minute := range 20 {
		m.advance(time.Minute + time.Second)
		for i, tt := range all {
			over := i%3 == 0 || 1+i*7%20 <= minute+1
			if got := tt.state.Load() == closed; got != over {
				t.Fatalf("after %d minutes, tunnel %d of %v: over is %v", minute+1, i, tt.limits.Idle, got)
			}
		}
	}
}

// The limit of a new tunnel wakes a loop that would sleep longer.
func TestLimitOfANewTunnelWakesTheLoop(t *testing.T) {
	ls := startLoops(t, 1)
	eventually(t, "the loop sleeps", func() bool { l := ls.loops[0]; l.mu.Lock(); defer l.mu.Unlock(); return l.asleep })
	connect(t, kindUnix, kindUnix).add(ls, Limits{Idle: time.Hour})
	eventually(t, "the loop sleeps until then", func() bool {
		l := ls.loops[0]
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.asleep && l.until > 0
	})
	connect(t, kindUnix, kindUnix).add(ls, Limits{Idle: time.Millisecond}).waitFor(EndIdle)
}

// Events are taken before a tunnel ends, and handled after the numbers of its descriptors
// and its slot have gone to another tunnel.
func TestStaleEventsFindNobody(t *testing.T) {
	m := manualLoop(t)
	old := m.open(t, Limits{})
	say(t, old.client, "x")
	reset(old.target)
	n := poll(m.epoll, m.events)
	stale := slices.Clone(m.events[:n])
	if n != 2 {
		t.Fatalf("%d events: the test tests nothing", n)
	}
	old.Stop(0)
	m.work(0)
	old.waitFor(EndStopped)

	next := reuse(t, m, old)
	if next.slot != old.slot || next.near != old.near {
		t.Fatalf("slot %d for %d, descriptors %v for %v: the test tests nothing", next.slot, old.slot, next.near, old.near)
	}
	before := next.ends
	copy(m.events, stale)
	m.work(n)
	if next.ends != before {
		t.Errorf("the new tunnel was told of the old one's events: %+v, was %+v", next.ends, before)
	}
	say(t, next.client, "untouched")
	m.step()
	expect(t, next.target, "untouched")
}

// The same within one batch of events: the first one ends the tunnel.
func TestStaleEventsOfABatchAreDropped(t *testing.T) {
	m := manualLoop(t)
	old := m.open(t, Limits{})
	say(t, old.client, "x")
	say(t, old.target, "y")
	m.collect(poll(m.epoll, m.events))
	if len(m.found) != 2 || m.found[0].tunnel != old.Tunnel {
		t.Fatalf("%+v: the test tests nothing", m.found)
	}
	m.cut(old.Tunnel, EndStopped)
	next := reuse(t, m, old)
	say(t, next.client, "not for the old one")
	for _, o := range m.found {
		m.handle(o.tunnel, o.side, o.events)
	}
	if up, _ := old.Counts(); up != 0 {
		t.Errorf("the old tunnel moved %d bytes of the new one", up)
	}
	m.step()
	old.waitFor(EndStopped)
	expect(t, next.target, "not for the old one")
}

// reuse starts a tunnel on the descriptors that another one had.
func reuse(t *testing.T, m *manual, old *tunnel) *tunnel {
	t.Helper()
	next := connect(t, kindUnix, kindUnix)
	for i, fd := range next.near {
		if fd == old.near[i] {
			continue
		}
		if fd == old.near[1-i] {
			t.Fatal("the numbers are crossed")
		}
		if err := unix.Dup3(fd, old.near[i], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		next.near[i] = old.near[i]
	}
	return next.add(m.Loops, Limits{})
}

// A tunnel that always has more to do gives way after its turn.
func TestTurnsAreBounded(t *testing.T) {
	m := manualLoop(t)
	m.turnSize = 1
	bulk, quiet := m.open(t, Limits{}), m.open(t, Limits{})
	_ = bulk.client.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	all, _ := io.Copy(bulk.client, endless{})
	say(t, quiet.client, "ping")
	m.round()
	if up, _ := bulk.Counts(); up == 0 || up > bufferSize || up >= all || !bulk.queued {
		t.Errorf("%d of %d bytes moved in one turn, another one waits: %v", up, all, bulk.queued)
	}
	expect(t, quiet.target, "ping")
	m.step()
	if up, _ := bulk.Counts(); up != all && bulk.ends[target].writable {
		t.Errorf("%d of %d bytes moved in the end", up, all)
	}
}
