// Package turns decides in which order attempts are made that cost much and may fail,
// such as the verification of passwords, when many clients ask for more of them than can
// be made.
//
// It promises that clients share what there is: an address that asks for thousands of
// attempts delays another's first by one. An address that has failed makes one attempt at
// a time, and after each failure none for a while, however many connections it has: the
// delay limits how fast can be guessed, and not only how fast is answered. IPv6 networks
// of /56 and /48 count as well as the /64 that a host has, so that a large network is no
// thousand strangers. What waits is bounded, and gives its place up when its client
// leaves.
//
// It knows nothing of passwords, and imports nothing of this module.
package turns

import (
	"container/heap"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"culvert/tunnel/internal/panics"
)

// Bounds of a Queue.
const (
	maxWaiting     = 4096            // attempts that wait, of all clients; twice as many if each is its network's only one
	maxWaitingEach = 32              // of one network, and fewer the more wait in all
	maxWeight      = 32 << 20        // of all attempts that wait
	maxWeightEach  = 1 << 20         // of those of one network, and less the more all weigh
	maxGates       = 20_000          // networks that are known
	failuresFor    = 5 * time.Minute // after the last one, they are forgotten
	freeFailures   = 3               // of one address, before a delay
	firstDelay     = 250 * time.Millisecond
	longestDelay   = 4 * time.Second
	knownFor       = time.Hour // after the last success, a network counts as known
	share          = 4         // of so many turns, one goes to a line that has to wait for another
)

// ErrFull is returned by Do for an attempt that may not even wait. It can be made after
// RetryAfter.
var ErrFull = errors.New("too many attempts are waiting")

// RetryAfter is how long after ErrFull an attempt has a fair chance.
const RetryAfter = longestDelay

// level is how networks of one length are treated. Of a larger network more is expected.
type level struct {
	bits    int // of IPv6; an IPv4 address has the first level alone
	free    int // failures before a delay
	longest time.Duration
}

var levels = [...]level{
	{64, freeFailures, longestDelay},
	{56, 4 * freeFailures, longestDelay / 4},
	{48, 16 * freeFailures, longestDelay / 16},
}

// Queue makes attempts in turns. Its methods may be called by several goroutines. The
// zero Queue is not usable: see New.
type Queue struct {
	mu      sync.Mutex
	free    int // attempts that may begin now
	waiting int
	weight  int // of those
	arrived uint64
	gates   map[netip.Prefix]*gate

	lines [3]line // of attempts that wait for nothing but their turn, by standing
	turns uint64  // that began while more than one line waited
}

// standing is what a network's last attempt says of its next one.
type standing uint8

const (
	known   standing = iota // it succeeded
	unknown                 // there was none
	failed                  // it failed
)

// line is attempts that wait for their turn, by start-time fair queueing: the turn of a
// network's next attempt is the line's clock, or later if the network has had more than
// its share.
type line struct {
	clock uint64
	ready attempts
}

// New returns a Queue that makes at most atOnce attempts at a time.
func New(atOnce int) *Queue {
	return &Queue{free: max(1, atOnce), gates: make(map[netip.Prefix]*gate)}
}

// gate is what is known of a network. A network that has failed too often lets one attempt
// through at a time.
type gate struct {
	level   level
	count   int       // failures
	last    time.Time // of them
	stands  standing
	good    time.Time // when an attempt succeeded last
	next    [3]uint64 // the turn of the network's next attempt, in each line
	running int       // attempts that passed and have not ended
	closed  time.Time // before this, none passes
	line    []*attempt
	waiting int // attempts that wait, here or elsewhere
	weight  int // of those
	timer   *time.Timer
}

// attempt is one call of Do that waits.
type attempt struct {
	gates   []*gate
	passed  int // of gates
	weight  int
	line    *line         // in which it waits; nil = at a gate still
	turn    uint64        // in that line
	number  uint64        // of the arrival
	index   int           // in line.ready; -1 = not there
	begin   chan struct{} // closed when its turn has come
	started bool          // guarded by Queue.mu
}

// Do makes an attempt for a client: it waits for its turn and calls try, which reports
// whether it succeeded. Do returns its result. The error is ErrFull, or that of ctx if
// that ended first; try was not called then. An invalid address has no network, and only
// waits for others. weight is the memory in bytes that the attempt holds while it waits:
// there is a bound for all.
func (q *Queue) Do(ctx context.Context, from netip.Addr, weight int, try func() bool) (ok bool, err error) {
	a, err := q.enter(from, weight)
	if err != nil {
		return false, err
	}
	select {
	case <-a.begin:
	case <-ctx.Done():
		if q.leave(a) {
			return false, context.Cause(ctx)
		}
		<-a.begin
	}
	ok = true // a panic of try is no failure of the client's
	defer func() { q.end(a, !ok) }()
	ok = try()
	return ok, nil
}

// networks returns the networks of an address, the smallest first.
func networks(from netip.Addr) []netip.Prefix {
	from = from.Unmap().WithZone("")
	switch {
	case !from.IsValid():
		return nil
	case from.Is4():
		return []netip.Prefix{netip.PrefixFrom(from, 32)}
	}
	var all []netip.Prefix
	for _, l := range levels {
		all = append(all, netip.PrefixFrom(from, l.bits).Masked())
	}
	return all
}

// enter adds an attempt.
func (q *Queue) enter(from netip.Addr, weight int) (*attempt, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting >= 2*maxWaiting || q.waiting > 0 && q.weight+weight > 2*maxWeight {
		return nil, ErrFull
	}
	a := &attempt{index: -1, begin: make(chan struct{}), number: q.arrived, weight: weight}
	for i, network := range networks(from) {
		g := q.gate(network, levels[i])
		// The more attempts wait, the fewer may be one network's, so that there is room
		// for those of others.
		if most := min(maxWaitingEach, (maxWaiting-q.waiting)/(2*maxWaitingEach)); g.waiting >= max(1, most)<<i {
			return nil, ErrFull
		}
		// So it is with their weight.
		if most := max(0, min(maxWeightEach, (maxWeight-q.weight)/8)); g.waiting > 0 && g.weight+weight > most<<i {
			return nil, ErrFull
		}
		a.gates = append(a.gates, g)
	}
	for _, g := range a.gates {
		g.waiting++
		g.weight += weight
	}
	q.arrived++
	q.waiting++
	q.weight += weight
	q.pass(a)
	q.start()
	return a, nil
}

// gate returns the gate of a network.
func (q *Queue) gate(network netip.Prefix, l level) *gate {
	g := q.gates[network]
	if g == nil {
		if len(q.gates) >= maxGates {
			q.forget()
		}
		g = &gate{level: l, stands: unknown}
		q.gates[network] = g
	}
	now := time.Now()
	if now.Sub(g.last) > failuresFor {
		g.count = 0
	}
	if g.stands == failed && g.count == 0 || g.stands == known && now.Sub(g.good) > knownFor {
		g.stands = unknown
	}
	return g
}

// forget forgets networks that nothing is known of any more, and, if there are still too
// many, others that have no attempt.
func (q *Queue) forget() {
	now := time.Now()
	for _, all := range []bool{false, true} {
		for network, g := range q.gates {
			if g.waiting+g.running == 0 && (all || now.Sub(g.last) > failuresFor && now.After(g.closed)) {
				delete(q.gates, network)
			}
			if all && len(q.gates) < maxGates*9/10 {
				return
			}
		}
		if len(q.gates) < maxGates*9/10 {
			return
		}
	}
}

// lets reports whether an attempt may pass the gate now: while failures are free, as many
// at once as there are left of them, and then one at a time.
func (g *gate) lets(now time.Time) bool {
	return now.Compare(g.closed) >= 0 && g.running < max(1, g.level.free-g.count)
}

// pass takes an attempt through its gates, as far as they let it. If they all do, it waits
// for its turn.
func (q *Queue) pass(a *attempt) {
	now := time.Now()
	for ; a.passed < len(a.gates); a.passed++ {
		g := a.gates[a.passed]
		if !g.lets(now) || len(g.line) > 0 && g.line[0] != a {
			if len(g.line) == 0 || g.line[0] != a {
				g.line = append(g.line, a)
			}
			q.wakeAt(g)
			return
		}
		if len(g.line) > 0 {
			g.line = g.line[1:]
		}
		g.running++
	}
	q.queue(a)
}

// queue puts an attempt that has passed its gates into a line.
func (q *Queue) queue(a *attempt) {
	stands := a.stands()
	a.line = &q.lines[stands]
	a.turn = a.line.clock
	for _, g := range a.gates {
		a.turn = max(a.turn, g.next[stands])
	}
	for _, g := range a.gates {
		g.next[stands] = a.turn + 1
	}
	heap.Push(&a.line.ready, a)
}

// stands returns the standing of an attempt: that of the address, unless a larger network
// of it has failed too often.
func (a *attempt) stands() standing {
	if len(a.gates) == 0 {
		return known
	}
	for _, g := range a.gates[1:] {
		if g.count > g.level.free {
			return failed
		}
	}
	return a.gates[0].stands
}

// next lets those pass who wait at a gate.
func (q *Queue) next(g *gate) {
	for len(g.line) > 0 {
		before := len(g.line)
		if q.pass(g.line[0]); len(g.line) == before {
			return
		}
	}
}

// wakeAt sees to it that a gate that opens by time is looked at then.
func (q *Queue) wakeAt(g *gate) {
	if wait := time.Until(g.closed); wait > 0 && g.timer == nil {
		g.timer = time.AfterFunc(wait, func() {
			defer panics.Recover("the turns of logins", nil)
			q.mu.Lock()
			defer q.mu.Unlock()
			g.timer = nil
			q.next(g)
			q.start()
		})
	}
}

// start begins the attempts whose turn it is.
func (q *Queue) start() {
	for q.free > 0 {
		l := q.line()
		if l == nil {
			return
		}
		a := heap.Pop(&l.ready).(*attempt)
		l.clock = max(l.clock, a.turn)
		if l != &q.lines[failed] && a.stands() == failed { // since it entered the line
			q.queue(a)
			continue
		}
		q.free--
		q.waiting--
		q.weight -= a.weight
		for _, g := range a.gates {
			g.waiting--
			g.weight -= a.weight
		}
		a.started = true
		close(a.begin)
	}
}

// line returns the line whose turn it is, nil if nobody waits.
func (q *Queue) line() (l *line) {
	waiting := 0
	for i := range q.lines {
		if len(q.lines[i].ready) == 0 {
			continue
		}
		if waiting++; waiting == 1 {
			l = &q.lines[i]
			continue
		}
		// The second line gets one of four turns, the third one of sixteen.
		if waiting == 2 {
			q.turns++
		}
		every := uint64(share)
		if waiting == 3 {
			every *= share
		}
		if q.turns%every == 0 {
			l = &q.lines[i]
		}
	}
	return l
}

// leave gives up the place of an attempt. It returns false if the attempt has begun.
func (q *Queue) leave(a *attempt) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.started {
		return false
	}
	q.waiting--
	q.weight -= a.weight
	if a.index >= 0 {
		heap.Remove(&a.line.ready, a.index)
	}
	for i, g := range a.gates {
		g.waiting--
		g.weight -= a.weight
		switch {
		case i < a.passed:
			g.running--
			q.next(g)
		case i == a.passed:
			for j, other := range g.line {
				if other == a {
					g.line = append(g.line[:j:j], g.line[j+1:]...)
					break
				}
			}
			q.next(g)
		}
	}
	q.start()
	return true
}

// end ends an attempt that has begun.
func (q *Queue) end(a *attempt, hasFailed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	now := time.Now()
	for _, g := range a.gates {
		g.running--
		if hasFailed {
			g.fail(now)
		} else {
			g.stands, g.good = known, now
		}
		q.next(g)
	}
	q.start()
}

// fail counts a failure, and closes the gate if there were too many.
func (g *gate) fail(now time.Time) {
	if now.Sub(g.last) > failuresFor {
		g.count = 0
	}
	g.count++
	g.last, g.stands = now, failed
	if over := g.count - g.level.free; over > 0 {
		g.closed = now.Add(min(firstDelay<<min(over-1, 10), g.level.longest))
	}
}

// attempts is a heap, ordered by turn and then by arrival.
type attempts []*attempt

func (s attempts) Len() int { return len(s) }

func (s attempts) Less(i, j int) bool {
	if s[i].turn != s[j].turn {
		return s[i].turn < s[j].turn
	}
	return s[i].number < s[j].number
}

func (s attempts) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push implements heap.Interface.
func (s *attempts) Push(x any) {
	a := x.(*attempt)
	a.index = len(*s)
	*s = append(*s, a)
}

// Pop implements heap.Interface.
func (s *attempts) Pop() any {
	last := len(*s) - 1
	a := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	a.index = -1
	return a
}
