package quota

import "net/netip"

// Holder is the owner of a Slot.
type Holder interface {
	// Drop ends the idle connection to make room for another. It is called once at
	// most, by any goroutine, and must not wait. The descriptor is counted no more,
	// unless mayAnswer is true: then it counts as a refusal until it is released, and
	// the client may be told first.
	Drop(mayAnswer bool)
}

// Slot is the place of one connection in the Table. The zero Slot holds nothing. A Slot
// must not be copied.
type Slot struct {
	table  *Table // nil = it never held anything
	holder Holder

	// Guarded by table.mu.
	account *Account // nil = nothing is held
	in      [lists]neighbours
	active  int32 // requests in flight on a client's connection
	kind    Kind
	rank    rank // busy = it is not idle
	refusal bool // it is counted as one
	known   bool // a request of the connection's was served
	given   bool // a relay closes the connection
	dropped bool
}

// lock locks the table. It returns nil if the Slot never held anything.
func (s *Slot) lock() *Table {
	if s.table != nil {
		s.table.mu.Lock()
	}
	return s.table
}

// Admit counts a client's connection, for which it makes room. While it has no request in
// flight the connection may be dropped for others, unless h is nil. After an error nothing
// is held; see Refuse.
func (t *Table) Admit(s *Slot, from netip.Addr, h Holder) error {
	t.mu.Lock()
	a := t.account(from)
	over, err := t.room(a, nil)
	if err == nil {
		if s.hold(a, Client, h); h != nil {
			s.push(rankStranger)
		}
	} else {
		a.settle()
	}
	t.mu.Unlock()
	drop(over)
	return err
}

// Refuse counts a connection that is open only until its client has been told that it is
// not served. It returns false if there are too many of them already.
func (t *Table) Refuse(s *Slot) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limits.Refusals > 0 && t.refusals >= t.limits.Refusals {
		return false
	}
	t.refusals++
	s.table, s.refusal = t, true
	return true
}

// Hold counts a connection to a target that is about to be made for a client, for which
// it makes room. After an error nothing is held.
func (s *Slot) Hold(a *Account, h Holder) error {
	t := a.table
	t.mu.Lock()
	over, err := t.room(a, nil)
	if err == nil {
		s.hold(a, Dial, h)
	}
	t.mu.Unlock()
	drop(over)
	return err
}

// hold fills an empty slot. t.mu is held.
func (s *Slot) hold(a *Account, kind Kind, h Holder) {
	a.add(kind)
	*s = Slot{table: a.table, holder: h, account: a, kind: kind, rank: busy}
}

// change makes the descriptor one of another account, or of another kind. t.mu is held.
func (s *Slot) change(a *Account, kind Kind) {
	before := s.account
	before.remove(s.kind)
	s.account, s.kind = a, kind
	a.add(kind)
	before.settle()
}

// Connected notes that the connection is made.
func (s *Slot) Connected() {
	t := s.lock()
	if t == nil {
		return
	}
	defer t.mu.Unlock()
	if s.account != nil {
		s.change(s.account, Target)
	}
}

// Rest makes a connection to a target idle: it is kept for another request, of the same
// client if private, else of any. It may be dropped from then on.
func (s *Slot) Rest(private bool) {
	t := s.lock()
	if t == nil {
		return
	}
	var over *Slot
	if s.account != nil {
		a := s.account
		if !private {
			a = t.own
		}
		if s.change(a, Kept); private && t.limits.KeptPerClient > 0 && a.kept > t.limits.KeptPerClient {
			if over = a.idle[rankKept].first; over != nil {
				over.forget()
			}
		}
		s.push(rankKept)
	}
	t.mu.Unlock()
	if over != nil {
		over.holder.Drop(false)
	}
}

// Use makes a connection that was kept busy for a client. The error is ErrDropped, or
// ErrPerClient; then it is kept still.
func (s *Slot) Use(a *Account) error {
	t := s.lock()
	if t == nil {
		return nil
	}
	if s.account == nil {
		defer t.mu.Unlock()
		if s.dropped {
			return ErrDropped
		}
		return nil // it holds no descriptor
	}
	s.pull()
	var over []*Slot
	var err error
	for s.account != a && !a.own && t.limits.PerClient > 0 && a.held >= t.limits.PerClient && err == nil {
		if old := a.oldest(); old != nil {
			over = append(over, old)
			old.forget()
		} else {
			err = ErrPerClient
		}
	}
	if err == nil {
		s.change(a, Target)
	} else {
		s.push(rankKept)
	}
	t.mu.Unlock()
	drop(over)
	return err
}

// Hand notes that a relay closes the client's connection: see Request.Relay.
func (s *Slot) Hand() {
	t := s.lock()
	if t == nil {
		return
	}
	defer t.mu.Unlock()
	s.given = true
}

// Dropped reports whether the connection was dropped.
func (s *Slot) Dropped() bool {
	t := s.lock()
	if t == nil {
		return false
	}
	defer t.mu.Unlock()
	return s.dropped
}

// Release counts the connection no more. The caller has closed it. It does nothing for a
// Slot that holds nothing.
func (s *Slot) Release() {
	t := s.lock()
	if t == nil {
		return
	}
	defer t.mu.Unlock()
	if s.refusal {
		s.refusal = false
		t.refusals--
	}
	if s.account != nil {
		s.uncount()
	}
}

// forget is Release for a slot that will be dropped. A client's counts as a refusal from
// now on, if there may be another. t.mu is held.
func (s *Slot) forget() {
	s.dropped = true
	s.uncount()
	t := s.table
	if s.refusal = s.kind == Client && (t.limits.Refusals == 0 || t.refusals < t.limits.Refusals); s.refusal {
		t.refusals++
	}
}

func (s *Slot) uncount() {
	s.pull()
	a := s.account
	s.account = nil
	a.remove(s.kind)
	a.settle()
}
