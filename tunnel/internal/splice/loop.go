//go:build linux

package splice

import (
	"container/heap"
	"encoding/binary"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/vanish"

	"golang.org/x/sys/unix"
)

const (
	batch      = 128      // the most events of one round
	bufferSize = 64 << 10 // the size of the buffer of a loop, and of one read
)

// loop is one epoll instance and the goroutine that waits for it.
type loop struct {
	epoll, wakeup int // wakeup is an eventfd
	waiter        waiter
	start         time.Time
	finisher      *finisher
	open          atomic.Int32

	mu      sync.Mutex
	slots   slots
	inbox   []*Tunnel // tunnels that were stopped, and new ones with a limit
	fresh   []*Tunnel // new tunnels, for the flights: the handshake may have left bytes on their way
	asleep  bool      // the loop waits or is about to, and was not woken since
	until   int64     // the loop's time at which it wakes by itself; 0 = never
	closing bool

	pipes    pool
	buffer   []byte
	turnSize int // the constant, but for tests
	timers   timers
	flights  flights
	ready    queue // tunnels that have more to do than one turn
	clock    int64 // the loop's time in this round; 0 = not asked for yet
	events   []unix.EpollEvent
	found    []occurrence
	mail     []*Tunnel // the content of inbox in this round
	over     []*Tunnel // tunnels that ended in this round
}

// occurrence is an event of a side of a tunnel. tunnel is nil if it has ended.
type occurrence struct {
	tunnel *Tunnel
	side   int
	events uint32
}

// newLoop returns one of n loops, which run then runs.
func newLoop(f *finisher, n, pipes int) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd2", err)
	}
	l := &loop{
		epoll: epoll, wakeup: wakeup, start: time.Now(), finisher: f, turnSize: turnSize,
		flights: flights{pace: vanish.Usual}, buffer: make([]byte, bufferSize), events: make([]unix.EpollEvent, batch), found: make([]occurrence, 0, batch),
	}
	l.pipes.open, l.pipes.keep, l.pipes.most = openPipe, max(1, keepPipes/n), (pipes+n-1)/n
	if err := l.waiter.init(epoll); err != nil {
		_ = unix.Close(wakeup)
		return nil, err
	}
	// Edge-triggered, each write to it is an event, and it need not be read from. No
	// slot has the number -1.
	wake := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wakeup, &wake); err != nil {
		l.free()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return l, nil
}

// free closes the descriptors of the loop.
func (l *loop) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.pipes.close()
	l.waiter.close()
	_ = unix.Close(l.wakeup)
}

// close makes the loop end all its tunnels and then itself.
func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing {
		l.closing = true
		l.wake()
	}
}

// run is the goroutine of the loop.
func (l *loop) run() {
	for l.work(l.wait()) {
	}
	l.free()
}

// work handles n events, with a turn for each tunnel that has something to do. It
// reports false when the loop has to end.
func (l *loop) work(n int) bool {
	closing, waiting := l.collect(n), l.ready.len
	for _, o := range l.found {
		if o.tunnel != nil {
			l.handleRecovered(o)
		}
	}
	for _, t := range l.mail {
		l.step(t, (*loop).attend)
	}
	for len(l.timers) > 0 && l.timers[0].due <= l.now() {
		l.step(l.timers[0], (*loop).expire)
	}
	if l.flights.due > 0 && l.flights.due <= l.now() {
		l.flightsRecovered()
	}
	// A tunnel that had its turn in this round waits for the next round.
	for range waiting {
		if t := l.ready.pop(); t.state.Load() != closed {
			l.step(t, (*loop).turn)
		}
	}
	l.bury()
	return !closing
}

// flightsRecovered is lookAtFlights. After a panic it looks again later.
func (l *loop) flightsRecovered() {
	defer panics.Recover("the watch of tunnels", func() { l.flights.due = l.now() + int64(l.flights.pace.Every) })
	l.lookAtFlights()
}

// step does something for a tunnel. A panic ends that tunnel, and no other.
func (l *loop) step(t *Tunnel, do func(*loop, *Tunnel)) {
	defer l.rescue(t)
	do(l, t)
}

// handleRecovered is handle, as a step.
func (l *loop) handleRecovered(o occurrence) {
	defer l.rescue(o.tunnel)
	l.handle(o.tunnel, o.side, o.events)
}

// rescue is deferred. After a panic it ends the tunnel.
func (l *loop) rescue(t *Tunnel) {
	if value := recover(); value != nil {
		panics.Tell("a tunnel on an event loop", value)
		if t.state.Load() != closed {
			defer func() {
				if again := recover(); again != nil {
					panics.Tell("the end of a tunnel on an event loop", again)
					l.discard(t)
				}
			}()
			l.cut(t, EndFailed)
		}
	}
}

// discard ends a tunnel that cannot be ended in order, since what the loop knows of it
// is inconsistent. Nothing that can panic comes behind the close of the sockets in finish,
// so they are open. A pipe of the tunnel's is lost.
func (l *loop) discard(t *Tunnel) {
	for i := range t.ends {
		t.ways[i] = way{over: true}
		closeSocket(t.ends[i].fd)
	}
	l.timers = slices.DeleteFunc(l.timers, func(other *Tunnel) bool { return other == t })
	for i, other := range l.timers {
		other.timer = int32(i)
	}
	heap.Init(&l.timers)
	f := &l.flights
	f.all = slices.DeleteFunc(f.all, func(other flight) bool { return other.Tunnel == t })
	for i, other := range f.all {
		other.Tunnel.flight = int32(i)
	}
	t.timer, t.flight, t.first = -1, -1, EndFailed
	t.state.Store(closed)
	l.over = append(l.over, t)
}

// wait waits for events, unless there is something to do. It returns how many are in
// l.events.
func (l *loop) wait() int {
	if l.ready.len > 0 {
		// No runtime.Gosched here: another thread would continue the loop, often on
		// another processor, and a GiB would cost a seventh more.
		return poll(l.epoll, l.events)
	}
	until := l.flights.due
	if len(l.timers) > 0 && (until == 0 || l.timers[0].due < until) {
		until = l.timers[0].due
	}
	l.mu.Lock()
	if len(l.fresh) > 0 && until == 0 {
		until = int64(time.Since(l.start) + l.flights.pace.Every)
	}
	if len(l.inbox) > 0 || l.closing {
		l.mu.Unlock()
		return poll(l.epoll, l.events)
	}
	l.asleep, l.until = true, until
	l.mu.Unlock()
	var deadline time.Time
	if until > 0 {
		deadline = l.start.Add(time.Duration(until))
	}
	return l.waiter.wait(l.events, deadline)
}

// collect finds the tunnels of n events. A tunnel that ends while they are handled is
// found too; its state tells so.
func (l *loop) collect(n int) (closing bool) {
	clear(l.found)
	clear(l.mail)
	l.found, l.mail, l.clock = l.found[:0], l.mail[:0], 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = false
	for i := range l.events[:n] {
		event := &l.events[i]
		t, side := l.slots.find(event)
		l.found = append(l.found, occurrence{t, side, event.Events})
	}
	l.inbox, l.mail = l.mail, l.inbox
	for _, t := range l.fresh {
		l.takeOff(t)
	}
	clear(l.fresh)
	l.fresh = l.fresh[:0]
	if l.closing {
		for _, place := range l.slots.all {
			if t := place.tunnel; t != nil {
				t.state.CompareAndSwap(live, stopping)
				l.mail = append(l.mail, t)
			}
		}
	}
	return l.closing
}

// admit adds t to the loop. If it returns 0, t belongs to the goroutine of the loop. Both
// sockets are registered with the lock held, so that the loop cannot act on one before
// the other is registered.
func (l *loop) admit(t *Tunnel) syscall.Errno {
	if t.limits.Idle > 0 {
		t.progress = int64(time.Since(l.start))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return errClosed
	}
	l.slots.take(t)
	for side := range t.ends {
		t.ends[side].watched = t.ways[1-side].pending()
		if errno := l.register(t, side, unix.EPOLL_CTL_ADD); errno != 0 {
			l.slots.release(t)
			return errno
		}
	}
	l.open.Add(1)
	l.fresh = append(l.fresh, t)
	if l.until == 0 {
		l.wake()
	}
	if t.limits.Idle > 0 {
		l.inbox = append(l.inbox, t)
		if l.until == 0 || t.progress+int64(t.limits.Idle) < l.until {
			l.wake()
		}
	}
	return 0
}

// register registers a socket of t with epoll. EPOLLOUT is left out until there is
// something to write: it would be an event at once, and wake the loop for nothing. The
// caller holds the lock.
func (l *loop) register(t *Tunnel, side, op int) syscall.Errno {
	e := &t.ends[side]
	events := uint32(unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET)
	if e.watched {
		events |= unix.EPOLLOUT
	}
	event := l.slots.event(t, side, events)
	return watch(l.epoll, op, e.fd, &event)
}

// post puts t into the inbox.
func (l *loop) post(t *Tunnel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing { // the loop ends t too
		return
	}
	l.inbox = append(l.inbox, t)
	l.wake()
}

// wake wakes the loop, unless it was woken already. The caller holds the lock.
func (l *loop) wake() {
	if l.asleep {
		l.asleep = false
		one := binary.NativeEndian.AppendUint64(nil, 1)
		_, _ = unix.Write(l.wakeup, one)
	}
}

// now returns the loop's time, in nanoseconds since its start. It is read once in a
// round, when it is asked for first.
func (l *loop) now() int64 {
	if l.clock == 0 {
		l.clock = int64(time.Since(l.start))
	}
	return l.clock
}

// bury releases the slots of the tunnels that ended, and hands them to the finisher.
func (l *loop) bury() {
	if len(l.over) == 0 {
		return
	}
	l.mu.Lock()
	for _, t := range l.over {
		l.slots.release(t)
	}
	l.mu.Unlock()
	l.open.Add(int32(-len(l.over)))
	l.finisher.hand(l.over...)
	clear(l.over)
	l.over = l.over[:0]
}
