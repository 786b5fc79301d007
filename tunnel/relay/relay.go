package relay

import (
	"cmp"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"culvert/tunnel/internal/sock"
)

// ClosedBy says who ended a tunnel: the side whose end of file or reset came
// first, or one of our own limits.
type ClosedBy string

// Who ended a tunnel: the access log's closed_by.
const (
	ClosedByClient  ClosedBy = "client"
	ClosedByTarget  ClosedBy = "target"
	ClosedByIdle    ClosedBy = "idle"    // both ways were silent for the idle timeout
	ClosedByLinger  ClosedBy = "linger"  // one half outlived the other without progress
	ClosedByDrain   ClosedBy = "drain"   // the server was told to stop
	ClosedByRevoked ClosedBy = "revoked" // a new policy forbids the tunnel
	ClosedByLimit   ClosedBy = "limit"   // a limit on tunnels
	ClosedByError   ClosedBy = "error"   // this machine's failure, neither side's
)

// grace is how long the bytes received before a reset get to reach the
// other side, before the reset is passed on and destroys what is still queued.
const grace = time.Second

// checkEvery is how often a side that nobody reads from, because its bytes are
// stuck on their way or it sent its last, is looked at for a reset.
const checkEvery = 2 * time.Second

// Side is one side of a tunnel as the spine hands it over.
type Side struct {
	Conn  net.Conn // the relay's from the start on: it closes it
	Early []byte   // read from conn before the relay began; first to the other side
}

// Limits are the relay's own reasons to end a tunnel; 0 = no limit.
type Limits struct {
	Idle   time.Duration // both ways silent
	Linger time.Duration // one way ended, the other without progress
	grace  time.Duration // for bytes received before a reset; 0 = grace
}

// Result is what a relay has to tell once it is over.
type Result struct {
	Up, Down int64 // payload bytes written, client→target and target→client
	ClosedBy ClosedBy
	Err      error // nil for an orderly end and for our own close, else *Broken
}

// Running is what is known of a relay while it runs, however it works.
type Running interface {
	End(by ClosedBy)          // from outside; see (*relay).end
	Counts() (up, down int64) // payload bytes so far
}

// Broken is the error of a relay whose connection on one side was reset or could
// not be written to.
type Broken struct {
	Side ClosedBy // ClosedByClient or ClosedByTarget
	Err  error    // what the connection returned
}

// Reason says which connection broke, without why.
func (b *Broken) Reason() string { return "the " + string(b.Side) + "'s connection broke" }

// Error implements error.
func (b *Broken) Error() string { return b.Reason() + ": " + b.Err.Error() }

// Unwrap returns Err.
func (b *Broken) Unwrap() error { return b.Err }

// relay copies both ways between two conns, under the contract of eleven rules
// that relay_test.go names one by one.
type relay struct {
	client, target end
	up, down       direction
	limits         Limits
	done           func(Result)
	checkEvery     time.Duration // checkEvery
	started        time.Time
	progress       atomic.Int64 // nanoseconds after started; kept only if limits are
	checking       atomic.Bool  // the timer is set for a check

	mu       sync.Mutex
	running  int  // directions
	halves   int  // directions that came to end of file
	armed    bool // the timer, which is a party that must have left before done
	ended    bool // end was called
	timer    *time.Timer
	closedBy ClosedBy
	cause    error     // what broke the tunnel
	grace    time.Time // set with cause: when the rest is given up
}

// Start copies both ways between client and target until both have ended,
// and returns at once. Both conns are the relay's from here on. done is called
// exactly once, as the last thing, after both are closed.
func Start(client, target Side, limits Limits, done func(Result)) *relay {
	r := newRelay(client, target, limits, done)
	r.begin()
	return r
}

func newRelay(client, target Side, limits Limits, done func(Result)) *relay {
	r := &relay{limits: limits, done: done, checkEvery: checkEvery, started: time.Now(), running: 2}
	r.client.init(client.Conn, ClosedByClient)
	r.target.init(target.Conn, ClosedByTarget)
	r.up.init(r, &r.client, &r.target, client.Early)
	r.down.init(r, &r.target, &r.client, target.Early)
	return r
}

func (r *relay) begin() {
	// A deadline of the handshake outlives it.
	_ = r.client.conn.SetDeadline(time.Time{})
	_ = r.target.conn.SetDeadline(time.Time{})
	r.mu.Lock()
	r.arm()
	r.mu.Unlock()
	go r.up.run()
	go r.down.run()
}

// Counts returns the payload bytes written so far, client→target and
// target→client. It may be called at any time.
func (r *relay) Counts() (up, down int64) {
	return r.up.moved.Load(), r.down.moved.Load()
}

// End closes the tunnel from outside. It does not wait: done tells when that is
// over. Calling it again, or after done, does nothing.
func (r *relay) End(by ClosedBy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(by)
}

func (r *relay) endLocked(by ClosedBy) {
	if r.ended {
		return
	}
	r.ended = true
	if r.running == 0 {
		return
	}
	if r.cause == nil && r.halves < 2 {
		r.closedBy = by
	}
	r.client.wake()
	r.target.wake()
}

// fail notes that e broke. Bytes that were received from e before that still
// have a while to reach the other end; everything else stops now. An error
// that is our own doing is none.
func (r *relay) fail(e *end, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.halves == 2 || r.cause != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	e.broken = true
	if r.cause != nil {
		return
	}
	r.cause = &Broken{e.by, err}
	by := e.by
	if isLocalFailure(err) {
		by = ClosedByError
	}
	r.closedFirst(by)
	r.grace = time.Now().Add(cmp.Or(r.limits.grace, grace))
	survivor := r.other(e)
	_ = survivor.conn.SetWriteDeadline(r.grace)
	if survivor.conn.SetReadDeadline(sock.Past) != nil {
		survivor.close()
	}
	_ = e.conn.SetWriteDeadline(sock.Past)
	_ = e.conn.SetReadDeadline(r.grace)
}

// isLocalFailure tells want of memory on this machine from what a peer did.
func isLocalFailure(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// failedRead reports whether err, of reading from e, is end of file after all,
// because we closed e ourselves for want of a half-close.
func (r *relay) failedRead(e *end, err error) (eof bool) {
	r.mu.Lock()
	closed := e.closed
	r.mu.Unlock()
	if !closed {
		r.fail(e, err)
	}
	return closed
}

func (r *relay) closedFirst(by ClosedBy) {
	if r.closedBy == "" {
		r.closedBy = by
	}
}

func (r *relay) other(e *end) *end {
	if e == &r.client {
		return &r.target
	}
	return &r.client
}

// HalfClose passes the end of file of from on.
func (r *relay) halfClose(from, to *end) {
	r.mu.Lock()
	if r.ended || r.cause != nil {
		r.mu.Unlock()
		return
	}
	r.closedFirst(from.by)
	r.halves++
	if r.halves < 2 {
		r.progress.Store(int64(time.Since(r.started)))
		r.arm()
	}
	skip := to.closed
	half, ok := to.conn.(sock.HalfCloser)
	to.closed = to.closed || !ok
	r.mu.Unlock()
	switch {
	case skip:
	case !ok:
		to.close()
	default:
		// Not connected means that a reset came: who reads from it will tell.
		if err := half.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			r.fail(to, err)
		}
	}
}

// limit returns the limit now in force, 0 for none.
func (r *relay) limit() (time.Duration, ClosedBy) {
	if r.halves > 0 && r.limits.Linger > 0 && (r.limits.Idle <= 0 || r.limits.Linger < r.limits.Idle) {
		return r.limits.Linger, ClosedByLinger
	}
	return max(r.limits.Idle, 0), ClosedByIdle
}

// arm sets the timer for the limit in force and for the next check, or ends
// the relay if the limit has passed without progress.
func (r *relay) arm() {
	if r.ended || r.cause != nil {
		return
	}
	limit, by := r.limit()
	wait := limit - time.Since(r.started) + time.Duration(r.progress.Load())
	if limit > 0 && wait <= 0 {
		r.endLocked(by)
		return
	}
	check := r.up.unread.Load() || r.down.unread.Load()
	if check && (limit == 0 || wait > r.checkEvery) {
		wait = r.checkEvery
	}
	r.checking.Store(check)
	switch {
	case limit == 0 && !check:
	case r.timer == nil:
		r.armed = true
		r.timer = time.AfterFunc(wait, r.tick)
	case !r.armed || r.timer.Stop(): // else tick is waiting for us, and will arm anew
		r.armed = true
		r.timer.Reset(wait)
	}
}

func (r *relay) tick() {
	r.up.check()
	r.down.check()
	r.mu.Lock()
	r.armed = false
	r.checking.Store(false)
	last := r.running == 0
	if !last {
		r.arm()
	}
	r.mu.Unlock()
	if last {
		r.finish()
	}
}

// leave is a direction's last call. Whoever is the last to leave, the timer
// included, closes both ends.
func (r *relay) leave() {
	r.mu.Lock()
	r.running--
	last := r.running == 0
	if last && r.armed {
		last = r.timer.Stop()
		r.armed = !last
	}
	r.mu.Unlock()
	if last {
		r.finish()
	}
}

func (r *relay) finish() {
	r.shut(&r.client)
	r.shut(&r.target)
	r.mu.Lock()
	result := Result{ClosedBy: r.closedBy, Err: r.cause}
	r.mu.Unlock()
	result.Up, result.Down = r.Counts()
	r.done(result)
}

// shut closes e, with a reset if the tunnel broke elsewhere.
func (r *relay) shut(e *end) {
	r.mu.Lock()
	reset := r.cause != nil && !e.broken
	r.mu.Unlock()
	if stream, ok := e.conn.(sock.Aborter); reset && ok {
		stream.Abort() // an exchange of a protocol that has resets of its own
	}
	if tcp := sock.TCPOf(e.conn); reset && tcp != nil {
		awaitSent(tcp, r.grace, r.isEnded)
		_ = tcp.SetLinger(0)
		if net.Conn(tcp) != e.conn {
			// Before what is around it: TLS would send close_notify, as if all
			// were well.
			_ = tcp.Close()
		}
	}
	e.close()
}

func (r *relay) isEnded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}
