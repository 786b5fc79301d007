package forward

import (
	"errors"
	"io"
	"sync"
	"time"

	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/sock"
)

// clientWatch watches the exchanges of one client connection, one after the other. It
// detects that the client leaves before its reply is complete, and that an exchange
// makes no progress (silence.go). The zero clientWatch is ready to use.
type clientWatch struct {
	mu     sync.Mutex
	x      *exchange     // under way; nil = none
	end    watchEnd      // why
	moved  int64         // x.progress at the last check
	owed   bool          // x.owed at the last check
	since  time.Time     // of the last change of either
	quiet  chan struct{} // closed when awaitClient has returned; nil = it was not started
	linger *time.Timer   // nil = the client has not ended its side
	yields bool          // the client is watched by Incoming.Watch

	// The timer runs on between requests, so that a quick request does not touch it.
	timer  *time.Timer
	armed  bool
	closed bool
}

// watchEnd is the result of a watch.
type watchEnd uint8

const (
	clientThere  watchEnd = iota
	clientGone            // the client left
	clientSilent          // there was no progress for too long, on either side
)

// watchAfter is the age from which a request is watched, so that a quick one costs
// nothing.
const watchAfter = 500 * time.Millisecond

// start watches x until stop is called. It aborts x if the client's connection
// breaks, if the client ends its side and then reads nothing for the linger time, or if
// there is no progress.
func (w *clientWatch) start(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.x, w.end, w.moved, w.owed, w.since = x, clientThere, 0, false, x.started
	switch {
	case w.armed:
	case w.timer == nil:
		w.timer = time.AfterFunc(watchAfter, w.tick)
	default:
		w.timer.Reset(watchAfter)
	}
	w.armed = true
}

// tick checks the exchange under way, if it is old enough.
func (w *clientWatch) tick() {
	defer panics.Recover("the watch of a client", nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.x
	if w.armed = x != nil && w.end == clientThere && !w.closed; !w.armed {
		return
	}
	if young := watchAfter - time.Since(x.started); young > 0 {
		w.timer.Reset(young)
		return
	}
	// While the request's content is read, its reader notices that the client leaves.
	if w.quiet == nil && !w.yields && x.body.done.Load() {
		w.quiet = make(chan struct{})
		go w.awaitClient(x, w.quiet)
	}
	next, silent := w.check(x)
	if silent {
		w.armed = false
		w.cut(x, clientSilent)
		return
	}
	w.timer.Reset(next)
}

// awaitClient waits until the client sends, ends its side, or leaves.
func (w *clientWatch) awaitClient(x *exchange, quiet chan struct{}) {
	defer close(quiet)
	defer panics.Recover("the watch of a client", nil)
	err := x.exchanges.wire.Await()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil || w.x != x: // another request, or stop called Wake
	case errors.Is(err, io.EOF): // perhaps a half-close, and the client still reads the reply
		w.startLinger(x)
	default:
		w.cut(x, clientGone)
	}
}

// startLinger ends x when the client, which has ended its side, reads nothing of its
// reply for the linger time. w.mu is held.
func (w *clientWatch) startLinger(x *exchange) {
	limit, before := x.exchanges.forwarder.Linger, x.down.Load()
	if limit <= 0 {
		return
	}
	w.linger = time.AfterFunc(limit, func() {
		defer panics.Recover("the watch of a client", nil)
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.x != x:
		case x.down.Load() > before:
			w.startLinger(x)
		default:
			w.cut(x, clientGone)
		}
	})
}

// cut ends x and notes why. w.mu is held.
func (w *clientWatch) cut(x *exchange, end watchEnd) {
	if w.end != clientThere {
		return
	}
	if w.end = end; end == clientSilent {
		x.cutSilent()
	}
	x.abort()
	if x.interim.sending.Load() { // nothing else ends that
		_ = x.exchanges.conn.SetWriteDeadline(sock.Past)
	}
}

// stop ends the watch and returns its result. The caller may read the connection again.
func (w *clientWatch) stop() watchEnd {
	w.mu.Lock()
	x, quiet := w.x, w.quiet
	w.x, w.quiet = nil, nil
	if w.linger != nil {
		w.linger.Stop()
		w.linger = nil
	}
	w.mu.Unlock()
	if quiet != nil {
		x.exchanges.wire.Wake()
		<-quiet
		x.exchanges.wire.Settle()
	}
	return w.end
}

// yield leaves the client to Incoming.Watch until resume is called. It returns false if
// the connection is being read already.
func (w *clientWatch) yield() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.yields = w.quiet == nil
	return w.yields
}

func (w *clientWatch) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.yields = false
}

// close stops the timer.
func (w *clientWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed = true; w.timer != nil {
		w.timer.Stop()
	}
}
