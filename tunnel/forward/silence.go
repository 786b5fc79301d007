package forward

import (
	"net/http"
	"sync/atomic"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"
)

// Some exchanges are meant to be silent for long: a long poll waits for the head of its
// reply, a stream of events for its next event. TCP keepalive and clientWatch detect a
// side that is gone, and IdleTimeout bounds the wait if it is set, as it does for
// tunnels. But if a side owes bytes that it has announced, or does not read what it is
// sent, silence is a fault, and descriptors are not held for it.

// owedTimeout bounds the silence of an exchange in which a side owes bytes: the client
// its request's content; the origin the rest of a head, or of a reply whose length is
// known; either side the reading of what it is sent. Progress in either direction
// restarts it.
const owedTimeout = 5 * time.Minute

// exchangePhase says which side an exchange waits for.
type exchangePhase struct {
	sending  atomic.Bool // a write to the origin is under way
	replying atomic.Bool // the reply's head was read
	endless  atomic.Bool // the length of the reply is not known
	awaiting atomic.Bool // a read of the reply's content is under way
}

func (p *exchangePhase) beginReply(endless bool) {
	p.endless.Store(endless)
	p.replying.Store(true)
}

// owed reports whether a side owes bytes.
func (x *exchange) owed() bool {
	_, head := x.interim.state()
	switch p := &x.phase; {
	case !x.body.done.Load(), p.sending.Load(), x.pending.flushing.Load(), x.interim.sending.Load():
		return true
	case p.replying.Load():
		return !p.endless.Load() || !p.awaiting.Load()
	}
	return head
}

// progress returns a number that grows with every byte and interim reply.
func (x *exchange) progress() int64 {
	passed, _ := x.interim.state()
	return x.body.n.Load() + x.down.Load() + int64(passed)
}

// check reports whether there was no progress for too long, and if not, when to
// check again. w.mu is held.
func (w *clientWatch) check(x *exchange) (next time.Duration, silent bool) {
	const checks = 10 // per limit
	limit := x.exchanges.forwarder.IdleTimeout
	next = owedTimeout / checks
	if limit > 0 {
		next = min(next, limit/checks)
	}
	if !x.body.done.Load() {
		next = watchAfter // the watching read begins once it is
	}
	owed := x.owed()
	if owed && (limit == 0 || limit > owedTimeout) {
		limit = owedTimeout
	}
	// That a side begins or ceases to owe bytes is progress, too.
	if moved := x.progress(); moved != w.moved || owed != w.owed {
		w.moved, w.owed, w.since = moved, owed, time.Now()
	} else if limit > 0 && time.Since(w.since) >= limit {
		return 0, true
	}
	return max(next, watchAfter), false
}

// cutSilent interrupts the reads and writes of the client that x waits for, which its
// context does not end.
func (x *exchange) cutSilent() {
	x.body.interrupt(errSilent)
	if x.phase.replying.Load() {
		_ = x.exchanges.conn.SetWriteDeadline(sock.Past)
	}
}

// silenceError returns the Error for a silence before any reply: the client's fault if
// its content was awaited (RFC 9110, section 15.5.9), else the origin's.
func (x *exchange) silenceError() *tunnel.Error {
	if x.body.awaitedClient() {
		return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Status: http.StatusRequestTimeout, Target: x.Record.Target,
			Detail: "the request's content did not go on in time"}
	}
	return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionReadTimeout, Target: x.Record.Target, Err: errSilent}
}
