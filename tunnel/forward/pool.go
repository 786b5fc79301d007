package forward

import (
	"errors"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/sock"
)

// Bounds of the connections kept to origins and parents.
const (
	idleUpstreams        = 256
	idleUpstreamsPerHost = 32
	idleUpstreamsOwn     = 16 // of a client whose connections are its own
	idleUpstreamTimeout  = 50 * time.Second
	idleUpstreamCheck    = 5 * time.Second
)

// pool keeps connections that carry no request. It never dials.
type pool struct {
	limit   int  // how many are kept
	private bool // they serve one client only
	mu      sync.Mutex
	kept    map[poolKey]keptList
	count   int
	oldest  *upstream // of all, in the order in which they were put
	newest  *upstream
	timer   *time.Timer // nil = none was kept yet
	running bool        // the timer is set
	closes  uint64      // how often all were closed
}

// keptList is the kept connections of one key.
type keptList struct {
	oldest, newest *upstream
	count          int
}

// poolKey says which requests a connection can carry.
type poolKey struct {
	parent *parent          // nil = there is none
	target tunnel.Authority // zero for a parent that gets the requests themselves
}

// take returns the freshest connection for key, for a request of the given client; nil if
// there is none, or the client may not have it. Connections that have ended, or hold bytes
// that nobody asked for, are closed, as are those that were dropped to make room.
func (p *pool) take(key poolKey, of *quota.Account) *upstream {
	for {
		u := p.pop(key)
		switch {
		case u == nil:
			return nil
		case sock.HasEnded(u.socket()):
			u.close()
			continue
		}
		switch err := u.slot.Use(of); {
		case err == nil:
			return u
		case errors.Is(err, quota.ErrPerClient): // others may have it
			p.mu.Lock()
			p.add(u)
			p.mu.Unlock()
			return nil
		}
		u.close()
	}
}

func (p *pool) pop(key poolKey) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.kept[key].newest
	if u != nil {
		p.remove(u)
	}
	return u
}

// put keeps a connection that has carried a request, and closes another if there are too
// many.
func (p *pool) put(u *upstream) {
	u.rest()
	u.reused = true
	u.slot.Rest(p.private)
	p.mu.Lock()
	if u.closes != p.closes { // the policy may forbid its address by now
		p.mu.Unlock()
		u.close()
		return
	}
	var surplus *upstream
	switch list := p.kept[u.key]; {
	case list.count >= idleUpstreamsPerHost:
		surplus = list.oldest
	case p.count >= p.limit:
		surplus = p.oldest
	}
	if surplus != nil {
		p.remove(surplus)
	}
	p.add(u)
	p.mu.Unlock()
	if surplus != nil {
		surplus.close()
	}
}

// add appends u to its list and to that of all. p.mu is held.
func (p *pool) add(u *upstream) {
	if p.kept == nil {
		p.kept = make(map[poolKey]keptList)
	}
	u.since = time.Now()
	list := p.kept[u.key]
	u.below, u.older = list.newest, p.newest
	if u.below != nil {
		u.below.above = u
	} else {
		list.oldest = u
	}
	if u.older != nil {
		u.older.newer = u
	} else {
		p.oldest = u
	}
	list.newest, p.newest = u, u
	list.count++
	p.count++
	p.kept[u.key] = list
	switch {
	case p.running:
		return
	case p.timer == nil:
		p.timer = time.AfterFunc(idleUpstreamCheck, p.sweep)
	default:
		p.timer.Reset(idleUpstreamCheck)
	}
	p.running = true
}

// remove removes u from both lists. p.mu is held.
func (p *pool) remove(u *upstream) {
	list := p.kept[u.key]
	if u.below != nil {
		u.below.above = u.above
	} else {
		list.oldest = u.above
	}
	if u.above != nil {
		u.above.below = u.below
	} else {
		list.newest = u.below
	}
	if u.older != nil {
		u.older.newer = u.newer
	} else {
		p.oldest = u.newer
	}
	if u.newer != nil {
		u.newer.older = u.older
	} else {
		p.newest = u.older
	}
	u.below, u.above, u.older, u.newer = nil, nil, nil, nil
	list.count--
	p.count--
	if list.count > 0 {
		p.kept[u.key] = list
	} else {
		delete(p.kept, u.key)
	}
}

// sweep closes connections that were not used for long, and those that have ended.
func (p *pool) sweep() {
	p.mu.Lock()
	var over []*upstream
	for u := p.oldest; u != nil; {
		next := u.newer
		if time.Since(u.since) >= idleUpstreamTimeout || sock.HasEnded(u.socket()) {
			p.remove(u)
			over = append(over, u)
		}
		u = next
	}
	if p.running = p.count > 0; p.running {
		p.timer.Reset(idleUpstreamCheck)
	}
	p.mu.Unlock()
	defer panics.Recover("the end of a kept connection", nil)
	for _, u := range over {
		u.close()
	}
}

// generation returns what a new connection keeps in upstream.closes.
func (p *pool) generation() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closes
}

// close closes all kept connections, and those in use when they would be kept. The pool
// can still be used.
func (p *pool) close() {
	p.mu.Lock()
	p.closes++
	var all []*upstream
	for p.oldest != nil {
		all = append(all, p.oldest)
		p.remove(p.oldest)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.running = false
	p.mu.Unlock()
	for _, u := range all {
		u.close()
	}
}
