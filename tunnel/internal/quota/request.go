package quota

// Request is a CONNECT or another request of a client's: first judged, then in flight,
// perhaps a tunnel in the end. One goroutine at a time may use it. The zero Request is
// counted nowhere, and everything is granted to it.
type Request struct {
	conn    *Slot    // the client's connection; nil = of a zero Request
	account *Account // of the client; nil = not in flight
	stage   stage
	target  bool // a descriptor is held for the tunnel's connection to its target
	kind    Kind // of that
}

type stage uint8

const (
	judged stage = iota
	inFlight
	tunnel // in flight, and counted as a tunnel too
	over
)

// Request returns a request that came over a client's connection.
func (s *Slot) Request() Request { return Request{conn: s} }

// Account returns the account of the client, nil if the request is not in flight.
func (r *Request) Account() *Account { return r.account }

// Begin puts the request in flight, once it may be: its client has logged in. Its
// connection is not dropped until it has ended. The error is a limit, or ErrDropped.
func (r *Request) Begin() error { return r.enter(inFlight) }

// Open puts a request in flight that becomes a tunnel, and holds a descriptor for the
// connection to its target. It may be in flight already. The error is a limit, or
// ErrDropped; the request is then as it was.
func (r *Request) Open() error { return r.enter(tunnel) }

func (r *Request) enter(to stage) error {
	if r.conn == nil {
		return nil
	}
	t := r.conn.lock()
	if t == nil {
		return nil
	}
	over, err := r.enterLocked(t, to)
	t.mu.Unlock()
	drop(over)
	return err
}

func (r *Request) enterLocked(t *Table, to stage) (over []*Slot, err error) {
	s, a := r.conn, r.conn.account
	switch {
	case a == nil:
		return nil, ErrDropped
	case to == tunnel && t.limits.Tunnels > 0 && t.tunnels >= t.limits.Tunnels:
		return nil, ErrTunnels
	case r.stage == judged && t.limits.RequestsPerClient > 0 && a.requests >= t.limits.RequestsPerClient:
		return nil, ErrRequests
	}
	was := s.rank
	s.pull() // so that it does not make room for itself
	if to == tunnel {
		if over, err = t.room(a, nil); err != nil {
			if was != busy {
				s.push(was)
			}
			return over, err
		}
		a.add(Dial)
		r.target, r.kind = true, Dial
		t.tunnels++
	}
	if r.stage == judged {
		s.active++
		s.known = true
		a.requests++
		t.requests++
	}
	r.stage, r.account = to, a
	return over, nil
}

// Connected notes that the connection to the tunnel's target is made. If it is a stream of
// a connection that several tunnels share it needs no descriptor.
func (r *Request) Connected(shared bool) {
	if !r.target {
		return
	}
	t := r.conn.lock()
	defer t.mu.Unlock()
	r.account.remove(r.kind)
	if r.target = !shared; r.target {
		r.kind = Target
		r.account.add(Target)
	}
}

// End ends the request: all that it holds is given back. It may be called again. A
// connection without another request may be dropped from now on.
func (r *Request) End() {
	if r.stage != inFlight && r.stage != tunnel {
		return
	}
	t := r.conn.lock()
	defer t.mu.Unlock()
	if r.target {
		r.account.remove(r.kind)
	}
	t.finish(r.conn, r.account, r.stage == tunnel)
	r.stage, r.account, r.target = over, nil, false
}

// finish counts a request less. conn is nil if a relay has closed it. t.mu is held.
func (t *Table) finish(conn *Slot, a *Account, isTunnel bool) {
	a.requests--
	t.requests--
	if isTunnel {
		t.tunnels--
	}
	if conn != nil {
		if conn.active--; conn.active == 0 && conn.account != nil && conn.holder != nil {
			conn.push(rankKnown)
		}
	}
	a.settle()
}

// Tunnel is what a tunnel holds that is relayed.
type Tunnel struct {
	account *Account // nil = of a zero Request
	conn    *Slot    // the client's connection, which carries other streams; nil = it is the tunnel's
	target  bool
}

// Relay ends the request without giving back what it holds, which is the Tunnel's from now
// on. If the client's connection was handed over by Hand, it is part of that.
func (r *Request) Relay() Tunnel {
	if r.stage != tunnel {
		return Tunnel{}
	}
	t := r.conn.lock()
	defer t.mu.Unlock()
	s := r.conn
	if r.target && r.kind != Target {
		r.account.remove(r.kind)
		r.account.add(Target)
	}
	out := Tunnel{account: r.account, conn: s, target: r.target}
	if s.given {
		out.conn, s.account = nil, nil
	}
	r.stage, r.account, r.target = over, nil, false
	return out
}

// End gives back what the tunnel holds. Its connections must be closed.
func (u Tunnel) End() {
	if u.account == nil {
		return
	}
	t := u.account.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.target {
		u.account.remove(Target)
	}
	if u.conn == nil {
		u.account.remove(Client)
	}
	t.finish(u.conn, u.account, true)
}
