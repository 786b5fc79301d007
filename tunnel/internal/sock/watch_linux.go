package sock

import (
	"errors"
	"os"
	"sync"
	"time"

	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/vanish"

	"golang.org/x/sys/unix"
)

// watchList is the list of connections that are watched for a peer that has vanished:
// those in Go's poller that were written to and whose bytes may still be on their way.
// While the list is empty, no timer runs. A connection that is not in the poller is not
// waited for, and the event loops watch their own.
type watchList struct {
	mu    sync.Mutex
	conns map[*Conn]*vanish.Watch
	armed bool
	start time.Time // looks count the time from it
	pace  vanish.Pace
}

var watches watchList

// wrote notes that bytes may be on their way to the peer of a parked connection.
func (c *Conn) wrote() {
	if !c.watched.Load() {
		watches.add(c)
	}
}

// add begins to watch c, unless it is watched already.
func (l *watchList) add(c *Conn) {
	if !c.watched.CompareAndSwap(false, true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns, l.start, l.pace = make(map[*Conn]*vanish.Watch), time.Now().Add(-time.Second), vanish.Usual
	}
	if l.conns[c] == nil {
		l.conns[c] = new(vanish.Watch)
	}
	if !l.armed {
		l.armed = true
		time.AfterFunc(l.pace.Every, l.round)
	}
}

func (l *watchList) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	c.watched.Store(false)
}

// watchedConn is an entry of a watchList.
type watchedConn struct {
	*Conn
	watch *vanish.Watch
}

// round looks at all connections of the list once. It holds the lock only briefly,
// because writers may wait for it.
func (l *watchList) round() {
	l.mu.Lock()
	batch := make([]watchedConn, 0, len(l.conns))
	for c, w := range l.conns {
		batch = append(batch, watchedConn{c, w})
	}
	l.mu.Unlock()
	for _, c := range batch {
		l.lookRecovered(c)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.armed = len(l.conns) > 0; l.armed {
		time.AfterFunc(l.pace.Every, l.round)
	}
}

func (l *watchList) lookRecovered(c watchedConn) {
	defer panics.Recover("the watch of a connection", nil)
	l.look(c)
}

func (l *watchList) look(c watchedConn) {
	// From here on a write adds c again, so that none is missed.
	c.watched.Store(false)
	state := vanish.Empty // also if c was closed or detached
	_ = c.control(func(fd int) error {
		state = c.watch.Look(fd, time.Since(l.start), l.pace)
		return nil
	})
	switch state {
	case vanish.Pending:
		c.watched.Store(true)
		return
	case vanish.Gone:
		c.lose()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.watched.Load() {
		delete(l.conns, c.Conn)
	}
}

// lose makes every operation on c fail, those under way too, because the peer has
// vanished. What the kernel holds for the peer is discarded by Close.
func (c *Conn) lose() {
	_ = c.SetLinger(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost, c.readBy, c.sendBy = true, Past, Past
	if c.file != nil {
		_ = c.file.SetDeadline(Past)
	}
}

// Lost reports whether the peer has vanished with bytes on their way to it. Reads and
// writes then fail with ETIMEDOUT, as they do after keepalive.
func (c *Conn) Lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// lostError returns the error of an operation in the poller, which is that of a deadline
// if the peer has vanished.
func (c *Conn) lostError(op string, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && c.Lost() {
		return c.opError(op, nil, unix.ETIMEDOUT)
	}
	return err
}

// WatchPeer watches a TCP connection that is not a *Conn, which watches itself, and calls
// lost once if its peer vanishes. Close then discards what the kernel holds for the peer.
// The caller calls stop when it closes the connection.
func WatchPeer(tcp TCP, lost func(error)) (stop func()) {
	if _, own := tcp.(*Conn); own {
		return func() {}
	}
	p := &foreignPeer{tcp: tcp, lost: lost, start: time.Now().Add(-time.Second), pace: vanish.Usual}
	p.mu.Lock() // the first look needs the timer
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(p.pace.Every, p.look)
	return p.stop
}

// foreignPeer is the state of one call of WatchPeer.
type foreignPeer struct {
	tcp   TCP
	lost  func(error)
	start time.Time
	pace  vanish.Pace
	watch vanish.Watch

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

func (p *foreignPeer) look() {
	defer panics.Recover("the watch of a connection", nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	state := vanish.Empty
	if raw, err := p.tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { state = p.watch.Look(int(fd), time.Since(p.start), p.pace) })
	}
	if state != vanish.Gone {
		p.timer.Reset(p.pace.Every)
		return
	}
	p.stopped = true
	_ = p.tcp.SetLinger(0)
	p.lost(OpError("read", p.tcp, unix.ETIMEDOUT))
}

func (p *foreignPeer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
}
