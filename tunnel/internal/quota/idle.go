package quota

// rank says in which order idle connections are dropped.
type rank uint8

const (
	rankKept     rank = iota // connections to targets that are kept
	rankStranger             // clients that had no request in flight yet
	rankKnown                // clients between two requests
	ranks
	busy = ranks // not idle
)

// list is a list of slots in the order in which they became idle. A slot is in two: its
// account's and its network's.
type list struct {
	first, last *Slot
	count       int
}

// The lists that a slot is in.
const (
	inAccount = iota
	inNetwork
	lists
)

type neighbours struct{ before, after *Slot }

func (l *list) push(s *Slot, which int) {
	s.in[which] = neighbours{before: l.last}
	if l.last != nil {
		l.last.in[which].after = s
	} else {
		l.first = s
	}
	l.last = s
	l.count++
}

func (l *list) remove(s *Slot, which int) {
	at := s.in[which]
	if at.before != nil {
		at.before.in[which].after = at.after
	} else {
		l.first = at.after
	}
	if at.after != nil {
		at.after.in[which].before = at.before
	} else {
		l.last = at.before
	}
	s.in[which] = neighbours{}
	l.count--
}

// crowd is the idle slots of a network, and its place among the networks that have as
// many.
type crowd struct {
	list
	before, after *crowd
}

// buckets holds networks by how many idle slots they have, so that one with most is found
// at once.
type buckets struct {
	by   []bucket // by count; the one for 0 is not used
	most int
}

// bucket is networks with equal counts, in the order in which they came to it.
type bucket struct{ first, last *crowd }

func (b *buckets) add(c *crowd) {
	if c.count == 0 {
		return
	}
	for len(b.by) <= c.count {
		b.by = append(b.by, bucket{})
	}
	at := &b.by[c.count]
	c.before, c.after = at.last, nil
	if at.last != nil {
		at.last.after = c
	} else {
		at.first = c
	}
	at.last = c
	b.most = max(b.most, c.count)
}

func (b *buckets) remove(c *crowd) {
	if c.count == 0 {
		return
	}
	at := &b.by[c.count]
	if c.before != nil {
		c.before.after = c.after
	} else {
		at.first = c.after
	}
	if c.after != nil {
		c.after.before = c.before
	} else {
		at.last = c.before
	}
	c.before, c.after = nil, nil
	for b.most > 0 && b.by[b.most].first == nil {
		b.most--
	}
}

// push makes a slot idle. t.mu is held.
func (s *Slot) push(as rank) {
	a := s.account
	s.rank = as
	a.idle[as].push(s, inAccount)
	c := &a.network.idle[as]
	a.table.idle[as].remove(c)
	c.push(s, inNetwork)
	a.table.idle[as].add(c)
}

// pull makes a slot busy. t.mu is held.
func (s *Slot) pull() {
	if s.rank == busy {
		return
	}
	a, as := s.account, s.rank
	s.rank = busy
	a.idle[as].remove(s, inAccount)
	c := &a.network.idle[as]
	a.table.idle[as].remove(c)
	c.list.remove(s, inNetwork)
	a.table.idle[as].add(c)
}

// oldest returns the slot to drop next, or nil. t.mu is held.
func (t *Table) oldest() *Slot {
	for i := range t.idle {
		if b := &t.idle[i]; b.most > 0 {
			return b.by[b.most].first.list.first
		}
	}
	return nil
}

// oldest returns the slot that the account gives up first for another of its own, or nil.
// t.mu is held.
func (a *Account) oldest() *Slot {
	for i := range a.idle {
		if s := a.idle[i].first; s != nil {
			return s
		}
	}
	return nil
}
