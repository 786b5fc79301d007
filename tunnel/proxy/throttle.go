package proxy

import (
	"net/netip"
	"sync"
	"time"
)

// throttle delays the answers to wrong credentials by client address, so that
// passwords cannot be tried at speed. Answers to right credentials are not delayed.
type throttle struct {
	mu       sync.Mutex
	failures map[netip.Addr]failures
}

type failures struct {
	count int
	last  time.Time
	turn  chan struct{} // held by the one attempt that may be under way
}

// Bounds of the throttle.
const (
	freeFailures    = 3
	firstDelay      = 250 * time.Millisecond
	longestDelay    = 4 * time.Second
	failuresFor     = 5 * time.Minute // after the last one, they are forgotten
	throttleClients = 10_000
)

// throttleKey returns the client's address, or for IPv6 its /64 network: a client
// that has one address of it can use them all.
func throttleKey(from netip.Addr) netip.Addr {
	if from.Is6() {
		return netip.PrefixFrom(from, 64).Masked().Addr()
	}
	return from
}

// enter waits until no other attempt from the client's address is under way, if one
// has failed before. It returns false if done was closed first; else the caller
// calls leave.
func (t *throttle) enter(done <-chan struct{}, from netip.Addr) (leave func(), ok bool) {
	t.mu.Lock()
	turn := t.failures[throttleKey(from)].turn
	t.mu.Unlock()
	if turn == nil {
		return func() {}, true
	}
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, true
	case <-done:
		return nil, false
	}
}

// failed counts a failure, and waits as long as the number of failures demands, or
// until done is closed.
func (t *throttle) failed(done <-chan struct{}, from netip.Addr) {
	delay := t.delay(throttleKey(from), time.Now())
	if delay == 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}

// delay counts a failure, and returns how long its answer is delayed.
func (t *throttle) delay(from netip.Addr, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failures == nil {
		t.failures = make(map[netip.Addr]failures)
	}
	f := t.failures[from]
	if now.Sub(f.last) > failuresFor {
		f.count = 0
	}
	f.count, f.last = f.count+1, now
	if f.turn == nil {
		f.turn = make(chan struct{}, 1)
	}
	if _, known := t.failures[from]; !known && len(t.failures) >= throttleClients {
		t.evict(now)
	}
	t.failures[from] = f
	if f.count <= freeFailures {
		return 0
	}
	return min(firstDelay<<min(f.count-freeFailures-1, 10), longestDelay)
}

// evict makes room: it removes old failures, and others if there are still too many.
func (t *throttle) evict(now time.Time) {
	for addr, f := range t.failures {
		if now.Sub(f.last) > failuresFor {
			delete(t.failures, addr)
		}
	}
	for addr := range t.failures {
		if len(t.failures) < throttleClients {
			return
		}
		delete(t.failures, addr)
	}
}
