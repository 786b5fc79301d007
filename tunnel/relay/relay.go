// Package relay copies bytes both ways between the two connections of a tunnel.
//
// A relay owns both connections from its start and closes them. It passes on early
// bytes, half-closes and resets, and its end from outside; it counts payload bytes;
// it ends a tunnel that is idle or lingers. The tests in relay_test.go and
// limits_test.go name the rules one by one.
//
// Start relays any two connections with two goroutines. Loops relay between plain
// sockets on event loops, which exist on Linux only; connections that they do not
// take are left for Start. Both splice between sockets where the system can.
//
// Package relay imports nothing of this module but internal packages: it knows
// neither HTTP nor errors of package tunnel.
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

	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/sock"
)

// ClosedBy says what ended a tunnel: the side whose end of file or reset came first,
// or one of the relay's own reasons. Its text is the access log's closed_by.
type ClosedBy string

// The reasons for the end of a tunnel.
const (
	ClosedByClient  ClosedBy = "client"
	ClosedByTarget  ClosedBy = "target"
	ClosedByIdle    ClosedBy = "idle"    // both ways were silent for Limits.Idle
	ClosedByLinger  ClosedBy = "linger"  // one way had ended, and the other made no progress for Limits.Linger
	ClosedByDrain   ClosedBy = "drain"   // the server was told to stop
	ClosedByRevoked ClosedBy = "revoked" // a new policy forbids the tunnel
	ClosedByLimit   ClosedBy = "limit"   // a limit on tunnels
	ClosedByError   ClosedBy = "error"   // a failure of this machine, of neither side
)

// grace is how long bytes that were received before a reset may take to reach the
// other side. Then the reset is passed on, which destroys those still queued.
const grace = time.Second

// checkEvery is the interval at which a side that is not being read from is checked
// for a reset. A side is not read from while its bytes wait for the other side, and
// after its end of file.
const checkEvery = 2 * time.Second

// Side is one side of a tunnel.
type Side struct {
	Conn  net.Conn // owned by the relay from its start, which closes it
	Early []byte   // bytes read from Conn before the start; the relay sends them first
}

// Limits are the relay's own reasons to end a tunnel. Zero means no limit.
type Limits struct {
	Idle   time.Duration // how long both ways may be silent
	Linger time.Duration // how long one way may make no progress after the other's end
	grace  time.Duration // for bytes received before a reset; 0 = the constant
}

// Result is the result of a relay that is over.
type Result struct {
	Up, Down int64    // payload bytes written, client→target and target→client
	ClosedBy ClosedBy // what ended the tunnel
	Err      error    // nil after an orderly end and after End, else *Broken
}

// Running is a relay that was started. Any goroutine may call its methods at any
// time.
type Running interface {
	// End ends the tunnel and closes both connections, for a reason of the
	// caller's. It does not wait for the end, which done reports. Calling it again,
	// or after the end, does nothing.
	End(by ClosedBy)

	// Counts returns the payload bytes written so far, client→target and
	// target→client.
	Counts() (up, down int64)
}

// Broken is the error of a relay of which one connection was reset or could not be
// written to.
type Broken struct {
	Side ClosedBy // ClosedByClient or ClosedByTarget
	Err  error    // the error of the connection
}

// Reason says which connection broke, but not why.
func (b *Broken) Reason() string { return "the " + string(b.Side) + "'s connection broke" }

// Error implements error.
func (b *Broken) Error() string { return b.Reason() + ": " + b.Err.Error() }

// Unwrap returns Err.
func (b *Broken) Unwrap() error { return b.Err }

// relay is a relay that works with two goroutines, one for each direction. It keeps
// the eleven rules that the tests in relay_test.go and limits_test.go name.
type relay struct {
	client, target end
	up, down       direction
	limits         Limits
	done           func(Result)
	checkEvery     time.Duration // the constant, but for tests
	started        time.Time
	progress       atomic.Int64 // the last progress, in nanoseconds after started; kept only if there are limits
	checking       atomic.Bool  // the timer is set for a check

	mu       sync.Mutex
	running  int  // directions that run
	halves   int  // directions that have reached end of file
	armed    bool // the timer is set or fires, which done has to wait for
	ended    bool // the tunnel was ended, by End or by a limit
	timer    *time.Timer
	closedBy ClosedBy
	cause    error     // what broke the tunnel
	grace    time.Time // set with cause: when the remaining bytes are given up
}

// Relay starts a relay like Start, on an event loop if that can relay between these
// connections and there are descriptors enough, else on goroutines.
func (l *Loops) Relay(client, target Side, limits Limits, done func(Result)) Running {
	if r, ok := l.Start(client, target, limits, done); ok {
		return r
	}
	return Start(client, target, limits, done)
}

// Start starts a relay between client and target and returns at once. The relay runs
// until both sides have ended, and closes both connections. Then, as its last act, it
// calls done, exactly once.
func Start(client, target Side, limits Limits, done func(Result)) Running {
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
	// The handshake may have left deadlines behind.
	_ = r.client.conn.SetDeadline(time.Time{})
	_ = r.target.conn.SetDeadline(time.Time{})
	r.client.watch(r)
	r.target.watch(r)
	r.mu.Lock()
	r.arm()
	r.mu.Unlock()
	go r.up.run()
	go r.down.run()
}

// Counts implements Running.
func (r *relay) Counts() (up, down int64) {
	return r.up.moved.Load(), r.down.moved.Load()
}

// End implements Running.
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

// fail records that e broke. Bytes that were received from e before that have until
// r.grace to reach the other end; everything else stops now. An error that the relay
// caused itself, by ending or by a deadline, does not count.
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

// isLocalFailure reports whether err is a lack of memory on this machine, for which
// the peer is not to blame.
func isLocalFailure(err error) bool {
	return errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// failedRead handles the error of a read from e. It reports whether the error means
// end of file, because the relay itself closed e, which cannot be half-closed.
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

// halfClose passes the end of file of from on.
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
		// ENOTCONN means that a reset has arrived. The direction that reads from to
		// will report it.
		if err := half.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			r.fail(to, err)
		}
	}
}

// limit returns the limit that is in force now, 0 for none, and the reason for an
// end by it.
func (r *relay) limit() (time.Duration, ClosedBy) {
	if r.halves > 0 && r.limits.Linger > 0 && (r.limits.Idle <= 0 || r.limits.Linger < r.limits.Idle) {
		return r.limits.Linger, ClosedByLinger
	}
	return max(r.limits.Idle, 0), ClosedByIdle
}

// arm sets the timer for the limit in force and for the next check. If the limit has
// passed without progress it ends the relay instead.
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
	case !r.armed || r.timer.Stop(): // else tick is waiting for the lock, and will arm again
		r.armed = true
		r.timer.Reset(wait)
	}
}

func (r *relay) tick() {
	r.checkBoth()
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

func (r *relay) checkBoth() {
	defer panics.Recover("a relay", func() { r.End(ClosedByError) })
	r.up.check()
	r.down.check()
}

// leave is the last call of a direction. The last of the two directions and the timer
// to leave closes both ends.
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
	r.shutRecovered(&r.client)
	r.shutRecovered(&r.target)
	r.mu.Lock()
	result := Result{ClosedBy: r.closedBy, Err: r.cause}
	r.mu.Unlock()
	result.Up, result.Down = r.Counts()
	defer panics.Recover("the end of a tunnel", nil)
	r.done(result)
}

// shutRecovered is the end of e. A panic of one end keeps neither the other end nor done.
func (r *relay) shutRecovered(e *end) {
	defer panics.Recover("the end of a relay", nil)
	e.unwatch()
	r.shut(e)
}

// shut closes e, with a reset if the other end broke.
func (r *relay) shut(e *end) {
	r.mu.Lock()
	reset := r.cause != nil && !e.broken
	r.mu.Unlock()
	if stream, ok := e.conn.(sock.Aborter); reset && ok {
		stream.Abort()
	}
	if tcp := sock.TCPOf(e.conn); reset && tcp != nil {
		awaitSent(tcp, r.grace, r.isEnded)
		_ = tcp.SetLinger(0)
		if net.Conn(tcp) != e.conn {
			// The socket goes first: TLS around it would send close_notify, as in an
			// orderly end.
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
