// Package quota is the table of who holds what in a server: descriptors by kind, and
// tunnels and requests in flight, for each client address and in all.
//
// It promises that no limit is exceeded, and that what is idle makes room before anything
// is refused: first connections that are kept for further requests, then clients that
// had no request in flight yet, because they are silent or have not logged in, then known
// clients between two requests. Of each, the network that has most gives first what was
// idle longest; an IPv4 address is a network of its own, and an IPv6 address is part of
// its /64. So a client that opens many connections makes room for the others.
//
// A [Slot] stands for one connection, a client's or one to a target: its owner embeds it,
// and is told by [Holder] when it must close it. A [Request] stands for a CONNECT or
// another request in flight, and a [Tunnel] for one whose connections are relayed. The
// package opens and closes nothing by itself, and imports nothing of this module.
package quota

import (
	"errors"
	"net/netip"
	"sync"
)

// Kind says what a descriptor is for.
type Kind uint8

// The kinds of descriptors.
const (
	Client Kind = iota // a client's connection
	Dial               // a connection to a target or a parent that is being made
	Target             // one that carries a tunnel or a request
	Kept               // one that waits for another request
	Lookup             // a question to a name server
	kinds
)

// Limits are the limits of a Table. 0 = there is no such limit.
type Limits struct {
	Descriptors       int // in all
	PerClient         int // descriptors of one client address
	KeptPerClient     int // of those, connections that wait for another request of that client's
	Tunnels           int // in all
	RequestsPerClient int // tunnels and other requests of one client address
	Refusals          int // connections that are accepted only to be refused, beyond Descriptors
}

// The reasons for which nothing more is to be had.
var (
	ErrDescriptors = errors.New("all descriptors are in use")
	ErrPerClient   = errors.New("the client has as many descriptors as it may have")
	ErrTunnels     = errors.New("as many tunnels are open as may be")
	ErrRequests    = errors.New("the client has as many tunnels and requests in flight as it may have")

	// ErrDropped is the reason if the connection itself was dropped to make room.
	ErrDropped = errors.New("the connection was dropped to make room for another")
)

// Table is the table. Its methods, and those of what is in it, may be called by several
// goroutines at once.
type Table struct {
	mu       sync.Mutex
	limits   Limits
	held     [kinds]int
	all      int // the sum of held
	tunnels  int
	requests int // tunnels among them
	refusals int
	accounts map[netip.Addr]*Account
	networks map[netip.Prefix]*network // of IPv6 addresses
	own      *Account                  // what the server holds for no client
	idle     [ranks]buckets
}

// New returns an empty Table.
func New(limits Limits) *Table {
	t := &Table{limits: limits, accounts: make(map[netip.Addr]*Account), networks: make(map[netip.Prefix]*network)}
	t.own = &Account{table: t, network: &network{}, held: 1, own: true} // never closed
	return t
}

// LimitClients sets the limit of descriptors of one client address.
func (t *Table) LimitClients(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits.PerClient = n
}

// Limits returns the limits.
func (t *Table) Limits() Limits {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limits
}

// Own returns the account of what the server holds for no client in particular.
func (t *Table) Own() *Account { return t.own }

// Held returns how many descriptors of a kind are held.
func (t *Table) Held(kind Kind) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held[kind]
}

// HeldBy returns how many descriptors a client address holds, and how many tunnels and
// requests it has in flight.
func (t *Table) HeldBy(from netip.Addr) (descriptors, requests int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.accounts[from]; a != nil {
		return a.held, a.requests
	}
	return 0, 0
}

// Tunnels returns how many tunnels are open or being opened.
func (t *Table) Tunnels() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tunnels
}

// Account is what one client address holds. An address without anything has none.
type Account struct {
	table    *Table
	addr     netip.Addr // invalid for all clients of unix sockets together
	own      bool       // the server's
	network  *network
	held     int // descriptors
	kept     int // of those, kept ones
	requests int
	idle     [ranks]list
}

// network is the addresses that make room together.
type network struct {
	prefix   netip.Prefix // of IPv6; zero for an IPv4 address
	accounts int
	idle     [ranks]crowd
}

// account returns the account of an address. t.mu is held.
func (t *Table) account(addr netip.Addr) *Account {
	a := t.accounts[addr]
	if a != nil {
		return a
	}
	a = &Account{table: t, addr: addr}
	t.accounts[addr] = a
	if !addr.Is6() {
		a.network = &network{}
		return a
	}
	const host = 64
	prefix := netip.PrefixFrom(addr.WithZone(""), host).Masked()
	if a.network = t.networks[prefix]; a.network == nil {
		a.network = &network{prefix: prefix}
		t.networks[prefix] = a.network
	}
	a.network.accounts++
	return a
}

// settle removes an account that holds nothing. t.mu is held.
func (a *Account) settle() {
	if a.held > 0 || a.requests > 0 || a.table.accounts[a.addr] != a {
		return
	}
	delete(a.table.accounts, a.addr)
	if n := a.network; n.prefix.IsValid() {
		if n.accounts--; n.accounts == 0 {
			delete(a.table.networks, n.prefix)
		}
	}
}

// add counts one descriptor more. t.mu is held.
func (a *Account) add(kind Kind) {
	a.table.held[kind]++
	a.table.all++
	a.held++
	if kind == Kept {
		a.kept++
	}
}

// remove counts one descriptor less. The caller settles the account. t.mu is held.
func (a *Account) remove(kind Kind) {
	a.table.held[kind]--
	a.table.all--
	a.held--
	if kind == Kept {
		a.kept--
	}
}

// Hold counts a descriptor of the given kind, for which it makes room.
func (a *Account) Hold(kind Kind) error {
	t := a.table
	t.mu.Lock()
	over, err := t.room(a, nil)
	if err == nil {
		a.add(kind)
	} else {
		a.settle()
	}
	t.mu.Unlock()
	drop(over)
	return err
}

// Note counts a descriptor of the given kind that is there already.
func (a *Account) Note(kind Kind) {
	a.table.mu.Lock()
	defer a.table.mu.Unlock()
	a.add(kind)
}

// Give undoes one Hold or Note. A caller whose Hold was the account's last does not use
// the Account any more.
func (a *Account) Give(kind Kind) {
	a.table.mu.Lock()
	defer a.table.mu.Unlock()
	a.remove(kind)
	a.settle()
}

// room makes room for one descriptor of a client, and appends to over what is to be
// dropped for it. It is counted no more. t.mu is held.
func (t *Table) room(a *Account, over []*Slot) ([]*Slot, error) {
	for !a.own && t.limits.PerClient > 0 && a.held >= t.limits.PerClient {
		s := a.oldest()
		if s == nil {
			return over, ErrPerClient
		}
		over = append(over, s)
		s.forget()
	}
	for t.limits.Descriptors > 0 && t.all >= t.limits.Descriptors {
		s := t.oldest()
		if s == nil {
			return over, ErrDescriptors
		}
		over = append(over, s)
		s.forget()
	}
	return over, nil
}

// Drop makes room for up to n descriptors, and returns for how many there is room. It is
// for a server that is short of them although the Table has some left.
func (t *Table) Drop(n int) int {
	var over []*Slot
	t.mu.Lock()
	for len(over) < n {
		s := t.oldest()
		if s == nil {
			break
		}
		over = append(over, s)
		s.forget()
	}
	t.mu.Unlock()
	drop(over)
	return len(over)
}

// drop has slots closed that are counted no more.
func drop(over []*Slot) {
	for _, s := range over {
		t := s.lock()
		mayAnswer := s.refusal
		t.mu.Unlock()
		s.holder.Drop(mayAnswer)
	}
}
