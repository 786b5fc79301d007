package quota

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// conn is a connection of a test, which notes that it was dropped.
type conn struct {
	Slot
	name    string
	dropped *[]string
	answers bool // Drop does not release it
}

func (c *conn) Drop(mayAnswer bool) {
	*c.dropped = append(*c.dropped, c.name)
	if mayAnswer && !c.answers {
		c.Release()
	}
}

// table is a Table of a test, and what was dropped from it.
type table struct {
	*testing.T
	*Table
	dropped []string
}

func newTable(t *testing.T, limits Limits) *table { return &table{T: t, Table: New(limits)} }

func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

// admit admits a client's connection.
func (t *table) admit(from, name string) *conn {
	t.Helper()
	c := &conn{name: name, dropped: &t.dropped}
	if err := t.Admit(&c.Slot, addr(from), c); err != nil {
		t.Fatalf("%s from %s: %v", name, from, err)
	}
	return c
}

// served lets the connection have a request in flight and end it.
func (c *conn) served(t *table) *conn {
	t.Helper()
	r := c.Request()
	if err := r.Begin(); err != nil {
		t.Fatal(err)
	}
	r.End()
	return c
}

// upstream makes a connection to a target for a request in flight.
func (t *table) upstream(r *Request, name string) *conn {
	t.Helper()
	c := &conn{name: name, dropped: &t.dropped}
	if err := c.Hold(r.Account(), c); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	c.Connected()
	return c
}

func (t *table) wantDropped(names ...string) {
	t.Helper()
	if !slices.Equal(t.dropped, names) {
		t.Errorf("dropped %q, want %q", t.dropped, names)
	}
	t.dropped = nil
}

func (t *table) wantHeld(want [kinds]int) {
	t.Helper()
	var got [kinds]int
	for k := range kinds {
		got[k] = t.Held(k)
	}
	if got != want {
		t.Errorf("held %v, want %v", got, want)
	}
}

// wantEmpty checks that everything was given back, and that nothing is remembered.
func (t *table) wantEmpty() {
	t.Helper()
	t.wantHeld([kinds]int{})
	if t.all != 0 || t.tunnels != 0 || t.requests != 0 || t.refusals != 0 || len(t.accounts) != 0 || len(t.networks) != 0 {
		t.Errorf("%d descriptors, %d tunnels, %d requests, %d refusals, %d accounts and %d networks are left",
			t.all, t.tunnels, t.requests, t.refusals, len(t.accounts), len(t.networks))
	}
	for r := range t.idle {
		if t.idle[r].most != 0 {
			t.Errorf("rank %d has idle connections", r)
		}
	}
}

// What is idle goes in this order: kept connections, strangers, known clients between
// requests. What has a request in flight stays.
func TestOrderInWhichIdleConnectionsAreDropped(t *testing.T) {
	q := newTable(t, Limits{Descriptors: 5})
	known := q.admit("192.0.2.1", "known").served(q)
	stranger := q.admit("192.0.2.3", "stranger")
	login := stranger.Request()
	active := q.admit("192.0.2.4", "active")
	r := active.Request()
	if err := r.Begin(); err != nil {
		t.Fatal(err)
	}
	kept := q.upstream(&r, "kept")
	kept.Rest(false)
	busy := q.upstream(&r, "busy")
	for i, name := range []string{"kept", "stranger", "known"} {
		from := fmt.Sprintf("198.51.100.%d", i)
		c := q.admit(from, from)
		next := c.Request()
		if err := next.Begin(); err != nil {
			t.Fatal(err)
		}
		defer c.Release()
		defer next.End()
		q.wantDropped(name)
	}
	if err := q.Admit(new(Slot), addr("203.0.113.1"), known); err != ErrDescriptors {
		t.Errorf("with nothing idle: %v", err)
	}
	if err := login.Begin(); err != ErrDropped || !stranger.Dropped() || active.Dropped() {
		t.Errorf("a request of a connection that was dropped: %v", err)
	}
	if err := kept.Use(r.Account()); err != ErrDropped {
		t.Errorf("a kept connection that was dropped: %v", err)
	}
	busy.Release()
	r.End()
	active.Release()
	q.wantDropped()
}

// The network with most idle connections gives first: an address of IPv4, a /64 of IPv6.
// Of it goes the one that was idle longest.
func TestWhoeverHasMostMakesRoom(t *testing.T) {
	q := newTable(t, Limits{Descriptors: 7})
	q.admit("192.0.2.1", "first and alone")
	q.admit("192.0.2.2", "a1")
	q.admit("2001:db8::1", "b1")
	q.admit("192.0.2.2", "a2")
	q.admit("2001:db8::2", "b2")
	q.admit("2001:db8::3", "b3")
	q.admit("2001:db8:0:1::1", "another network")
	q.admit("192.0.2.3", "c1")
	q.wantDropped("b1")
	q.admit("192.0.2.3", "c2")
	q.admit("192.0.2.3", "c3")
	q.wantDropped("a1", "b2")
	q.admit("192.0.2.3", "c4")
	q.wantDropped("c1")
}

// A stranger that opens one connection after the other has only its own dropped.
func TestStrangersDoNotDropOthers(t *testing.T) {
	q := newTable(t, Limits{Descriptors: 50})
	q.admit("192.0.2.7", "good")
	for i := range 1000 {
		q.admit(fmt.Sprintf("192.0.2.%d", 100+i%3), fmt.Sprint("bad", i))
	}
	if slices.Contains(q.dropped, "good") {
		t.Error("a client with one connection was dropped for one with many")
	}
	if len(q.dropped) != 951 {
		t.Errorf("%d were dropped", len(q.dropped))
	}
}

// A client at its limit gives up what is idle of its own, and is then refused. Others are not concerned.
func TestLimitOfAClient(t *testing.T) {
	q := newTable(t, Limits{PerClient: 3})
	for _, from := range []string{"192.0.2.1", "2001:db8::1", ""} {
		a := q.admit(from, "a")
		q.admit(from, "b")
		q.admit(from, "c")
		q.admit(from, "d")
		q.wantDropped("a")
		e := q.admit(from, "e")
		q.wantDropped("b")
		r := e.Request()
		if err := r.Open(); err != nil {
			t.Fatal(err)
		}
		q.wantDropped("c")
		f := q.admit(from, "f")
		q.wantDropped("d")
		busy := f.Request()
		if err := busy.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := q.Admit(new(Slot), addr(from), a); err != ErrPerClient {
			t.Errorf("from %q beyond the limit: %v", from, err)
		}
		if n, requests := q.HeldBy(addr(from)); n != 3 || requests != 2 {
			t.Errorf("%q holds %d descriptors and %d requests", from, n, requests)
		}
	}
	q.admit("2001:db8::2", "of the same /64").Release() // the limit is each address's
	q.wantDropped()
}

func TestLimitsOfTunnelsAndRequests(t *testing.T) {
	q := newTable(t, Limits{Tunnels: 2, RequestsPerClient: 2})
	begin := func(from string, how func(*Request) error) (*Request, error) {
		r := q.admit(from, from).Request()
		return &r, how(&r)
	}
	first, err1 := begin("192.0.2.1", (*Request).Open)
	second, err2 := begin("192.0.2.1", (*Request).Begin)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, how := range []func(*Request) error{(*Request).Open, (*Request).Begin} {
		if _, err := begin("192.0.2.1", how); err != ErrRequests {
			t.Errorf("beyond the client's limit: %v", err)
		}
	}
	if err := second.Open(); err != nil { // an upgrade is not counted twice
		t.Error(err)
	}
	if _, err := begin("192.0.2.2", (*Request).Open); err != ErrTunnels {
		t.Errorf("beyond the limit of tunnels: %v", err)
	}
	if _, err := begin("192.0.2.2", (*Request).Begin); err != nil {
		t.Errorf("a request that is no tunnel: %v", err)
	}
	first.End()
	first.End() // does nothing
	if _, err := begin("192.0.2.2", (*Request).Open); err != nil {
		t.Error(err)
	}
	if q.Tunnels() != 2 {
		t.Errorf("%d tunnels", q.Tunnels())
	}
}

// What a tunnel holds is counted until it ends, also if the client's connection is closed
// before.
func TestTunnelHoldsItsConnections(t *testing.T) {
	for _, tt := range []struct {
		name   string
		given  bool // the client's connection is the tunnel's
		shared bool // the target is reached over a stream
		open   [kinds]int
	}{
		{"both connections", true, false, [kinds]int{Client: 1, Target: 1}},
		{"a stream to the target", true, true, [kinds]int{Client: 1}},
		{"a stream of the client", false, false, [kinds]int{Client: 1, Target: 1}},
		{"streams on both sides", false, true, [kinds]int{Client: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := newTable(t, Limits{})
			c := q.admit("192.0.2.1", "client")
			r := c.Request()
			if err := r.Open(); err != nil {
				t.Fatal(err)
			}
			q.wantHeld([kinds]int{Client: 1, Dial: 1})
			r.Connected(tt.shared)
			if tt.given {
				c.Hand()
			}
			u := r.Relay()
			r.End() // does nothing any more
			if tt.given {
				c.Release() // nor does this
			}
			q.wantHeld(tt.open)
			if q.Drop(1) != 0 {
				t.Error("the connection of a tunnel was dropped")
			}
			u.End()
			if !tt.given {
				q.wantHeld([kinds]int{Client: 1})
				c.Release()
			}
			q.wantEmpty()
		})
	}
}

// A connection with several streams is idle when the last of them has ended.
func TestConnectionWithStreamsIsIdleAfterTheLast(t *testing.T) {
	q := newTable(t, Limits{})
	c := q.admit("192.0.2.1", "c")
	a, b := c.Request(), c.Request()
	if err := b.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := a.Open(); err != nil {
		t.Fatal(err)
	}
	u := a.Relay()
	b.End()
	if q.Drop(1) != 0 {
		t.Error("dropped with a tunnel on it")
	}
	u.End()
	if q.Drop(1) != 1 {
		t.Error("not dropped without any")
	}
	q.wantDropped("c")
	q.wantEmpty()
}

// A kept connection is the server's if any client may use it, and its client's otherwise;
// a client keeps no more than its limit.
func TestKeptConnections(t *testing.T) {
	q := newTable(t, Limits{KeptPerClient: 2})
	c := q.admit("192.0.2.1", "client")
	r := c.Request()
	if err := r.Begin(); err != nil {
		t.Fatal(err)
	}
	shared := q.upstream(&r, "shared")
	shared.Rest(false)
	if n, _ := q.HeldBy(addr("192.0.2.1")); n != 1 {
		t.Errorf("the client holds %d descriptors besides a shared one", n)
	}
	if err := shared.Use(r.Account()); err != nil {
		t.Fatal(err)
	}
	shared.Rest(false)
	for i := range 4 {
		q.upstream(&r, fmt.Sprint("own", i)).Rest(true)
	}
	q.wantDropped("own0", "own1")
	q.wantHeld([kinds]int{Client: 1, Kept: 3})
	r.End()
	c.Release()
	if n, _ := q.HeldBy(addr("192.0.2.1")); n != 2 {
		t.Errorf("the client holds %d descriptors by what it keeps", n)
	}
	if q.Drop(9) != 3 {
		t.Error("not all kept connections were dropped")
	}
	q.wantEmpty()
}

// A client that has too much already may not use what is kept for all.
func TestClientAtItsLimitMayNotUseKeptConnections(t *testing.T) {
	q := newTable(t, Limits{PerClient: 2})
	c := q.admit("192.0.2.1", "client")
	r := c.Request()
	if err := r.Begin(); err != nil {
		t.Fatal(err)
	}
	kept := q.upstream(&r, "kept")
	kept.Rest(false)
	q.upstream(&r, "other")
	if err := kept.Use(r.Account()); err != ErrPerClient {
		t.Errorf("got %v", err)
	}
	if q.Drop(1) != 1 {
		t.Error("it is not kept any more")
	}
	q.wantDropped("kept")
}

func TestRefusalsAreBounded(t *testing.T) {
	q := newTable(t, Limits{Descriptors: 1, Refusals: 2})
	var a, b, c Slot
	if !q.Refuse(&a) || !q.Refuse(&b) || q.Refuse(&c) {
		t.Error("the limit of refusals is not 2")
	}
	q.admit("192.0.2.1", "client") // they are beside the others
	a.Release()
	a.Release()
	if !q.Refuse(&c) || q.Refuse(&a) {
		t.Error("the limit of refusals is not 2 after one has ended")
	}
}

// A client that is dropped may be told, and counts as a refusal until it is released.
func TestDroppedClientsMayBeTold(t *testing.T) {
	q := newTable(t, Limits{Descriptors: 1, Refusals: 1})
	first := q.admit("192.0.2.1", "first")
	first.answers = true
	second := q.admit("192.0.2.1", "second")
	second.answers = true
	q.wantDropped("first")
	var refused Slot
	if q.Refuse(&refused) {
		t.Error("there are two refusals")
	}
	third := q.admit("192.0.2.1", "third")
	q.wantDropped("second")
	second.Release() // it was none
	first.Release()
	if !q.Refuse(&refused) {
		t.Error("the refusal has not ended")
	}
	refused.Release()
	third.Release()
	q.wantEmpty()
}

// Random use by many addresses keeps the limits, and leaves nothing behind.
func TestRandomUse(t *testing.T) {
	for seed := range uint64(20) {
		q := newTable(t, Limits{Descriptors: 40, PerClient: 12, KeptPerClient: 3, Tunnels: 8, RequestsPerClient: 6, Refusals: 5})
		random := rand.New(rand.NewPCG(seed, 1))
		var conns, upstreams []*conn
		var requests []*Request
		var tunnels []Tunnel
		pick := func(n int) int { return random.IntN(max(n, 1)) }
		for range 3000 {
			switch random.IntN(10) {
			case 0, 1:
				c := &conn{dropped: &q.dropped}
				if q.Admit(&c.Slot, netip.AddrFrom16([16]byte{7: byte(random.IntN(3)), 15: byte(random.IntN(3))}), c) == nil {
					conns = append(conns, c)
				}
			case 2:
				if i := pick(len(conns)); i < len(conns) && (conns[i].active == 0) {
					conns[i].Release()
					conns = slices.Delete(conns, i, i+1)
				}
			case 3, 4:
				if i := pick(len(conns)); i < len(conns) {
					r := conns[i].Request()
					how := []func() error{r.Begin, r.Open}[random.IntN(2)]
					if how() == nil {
						requests = append(requests, &r)
					}
				}
			case 5, 6:
				if i := pick(len(requests)); i < len(requests) {
					r := requests[i]
					if random.IntN(2) == 0 {
						r.Connected(random.IntN(2) == 0)
						if u := r.Relay(); u.account != nil {
							tunnels = append(tunnels, u)
						}
					}
					r.End()
					requests = slices.Delete(requests, i, i+1)
				}
			case 7:
				if i := pick(len(tunnels)); i < len(tunnels) {
					tunnels[i].End()
					tunnels = slices.Delete(tunnels, i, i+1)
				}
			case 8:
				if i := pick(len(requests)); i < len(requests) {
					c := &conn{dropped: &q.dropped}
					if c.Hold(requests[i].Account(), c) == nil {
						c.Connected()
						c.Rest(random.IntN(2) == 0)
						upstreams = append(upstreams, c)
					}
				}
			case 9:
				if i := pick(len(upstreams)); i < len(upstreams) {
					c := upstreams[i]
					if j := pick(len(requests)); j < len(requests) && c.Use(requests[j].Account()) == nil {
						c.Rest(random.IntN(2) == 0)
						continue
					}
					c.Release()
					upstreams = slices.Delete(upstreams, i, i+1)
				}
			}
			if q.all > 40 || q.tunnels > 8 {
				t.Fatalf("seed %d: %d descriptors, %d tunnels", seed, q.all, q.tunnels)
			}
			for a, account := range q.accounts {
				if account.held > 12 || account.requests > 6 || account.kept > 3 {
					t.Fatalf("seed %d: %v holds %d, %d requests, %d kept", seed, a, account.held, account.requests, account.kept)
				}
			}
		}
		for _, r := range requests {
			r.End()
		}
		for _, u := range tunnels {
			u.End()
		}
		for _, c := range append(conns, upstreams...) {
			c.Release()
		}
		q.wantEmpty()
	}
}

// BenchmarkTunnel is what a CONNECT costs here, from accept to the end of its tunnel.
func BenchmarkTunnel(b *testing.B) {
	q := New(Limits{Descriptors: 1000, PerClient: 500, Tunnels: 400, RequestsPerClient: 100})
	from := addr("192.0.2.1")
	var c conn
	b.ReportAllocs()
	for b.Loop() {
		c.Slot = Slot{}
		_ = q.Admit(&c.Slot, from, &c)
		r := c.Request()
		_ = r.Open()
		r.Connected(false)
		c.Hand()
		u := r.Relay()
		c.Release()
		u.End()
	}
}
