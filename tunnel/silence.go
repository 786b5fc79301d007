package tunnel

import (
	"net/http"
	"sync/atomic"
	"time"
)

// An exchange under way may be silent for as long as it likes where that is
// what it is for: a long poll waits for its answer's head, a stream of events
// for its next piece. Both sides are there, or TCP keepalive and clientWatch
// find them gone; IdleTimeout bounds such a wait if it is set, as a tunnel's.
// Where somebody owes bytes that it has announced, or has to take some, silence
// is a fault, and the descriptors are not held for ever.

// owedTimeout is how long nothing may move on an exchange in which somebody
// owes bytes: the client its request's content, the origin the rest of a head
// or of a reply whose length it has told, or either side the reading of what it
// was sent. Progress either way begins it anew.
const owedTimeout = 5 * time.Minute

// exchangePhase tells who is waited for.
type exchangePhase struct {
	sending  atomic.Bool // a write to the origin is under way
	replying atomic.Bool // the reply's head was there
	endless  atomic.Bool // the reply did not tell its length
	awaiting atomic.Bool // more of the reply's content is waited for
}

func (p *exchangePhase) reply(endless bool) {
	p.endless.Store(endless)
	p.replying.Store(true)
}

// owed reports whether somebody owes bytes.
func (x *plainExchange) owed() bool {
	_, head := x.interim.state()
	switch p := &x.phase; {
	case !x.body.done.Load(), p.sending.Load(), x.pending.flushing.Load():
		return true
	case p.replying.Load():
		return !p.endless.Load() || !p.awaiting.Load()
	}
	return head
}

// progress is a number that grows with all that moves.
func (x *plainExchange) progress() int64 {
	passed, _ := x.interim.state()
	return x.body.n.Load() + x.down.Load() + int64(passed)
}

// listen reports whether nothing has moved for too long, and if not, when to
// ask again. w.mu is held.
func (w *clientWatch) listen(x *plainExchange) (next time.Duration, silent bool) {
	const looks = 10 // within a limit
	limit := x.of.forwarder.IdleTimeout
	next = owedTimeout / looks
	if limit > 0 {
		next = min(next, limit/looks)
	}
	if !x.body.done.Load() {
		next = watchAfter // the watching read begins when it is
	}
	owed := x.owed()
	if owed && (limit == 0 || limit > owedTimeout) {
		limit = owedTimeout
	}
	// That somebody begins to owe is a movement, too.
	if moved := x.progress(); moved != w.moved || owed != w.owed {
		w.moved, w.owed, w.since = moved, owed, time.Now()
	} else if limit > 0 && time.Since(w.since) >= limit {
		return 0, true
	}
	return max(next, watchAfter), false
}

// cutSilent ends the waits of x that its context does not.
func (x *plainExchange) cutSilent() {
	x.body.interrupt(errSilent)
	if x.phase.replying.Load() {
		_ = x.of.conn.SetWriteDeadline(past)
	}
}

// silenceError is the verdict on a silence before any answer: on the client if
// it was the one to speak (RFC 9110, section 15.5.9).
func (x *plainExchange) silenceError() *Error {
	if x.body.awaited() {
		return &Error{Phase: PhaseRequest, Type: ErrorRequest, Status: http.StatusRequestTimeout, Target: x.Record.Target,
			Detail: "the request's content did not go on in time"}
	}
	return &Error{Phase: PhaseReply, Type: ErrorConnectionReadTimeout, Target: x.Record.Target, Err: errSilent}
}
