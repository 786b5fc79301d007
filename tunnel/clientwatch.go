package tunnel

import (
	"errors"
	"io"
	"sync"
	"time"
)

// clientWatch looks after the plain requests of one client connection, one by
// one: it notices a client that leaves while its answer is awaited or on its
// way, and an exchange on which nothing moves any more (silence.go). The zero
// clientWatch is ready.
type clientWatch struct {
	mu     sync.Mutex
	x      *plainExchange // under way; nil = none
	cancel func()         // gives x up
	end    watchEnd       // how x ends
	moved  int64          // x's progress at the last look
	owed   bool           // x.owed then
	since  time.Time      // of the last change of either
	quiet  chan struct{}  // closed when the watching read has returned; nil = none began
	linger *time.Timer    // nil = the client has not ended its side

	// The timer goes on from request to request, so that a quick one need not
	// touch it.
	timer  *time.Timer
	armed  bool
	closed bool
}

// watchEnd is what became of a watched exchange.
type watchEnd uint8

const (
	clientThere  watchEnd = iota
	clientGone            // the client left
	clientSilent          // nothing moved for too long, on whichever side
)

// watchAfter spares quick requests the price of being watched.
const watchAfter = 500 * time.Millisecond

// start watches x until stop. It is given up, by cancel, if the client's
// connection breaks, or ends and then takes nothing more for the linger time,
// or if nothing moves.
func (w *clientWatch) start(x *plainExchange, cancel func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.x, w.cancel, w.end, w.moved, w.owed, w.since = x, cancel, clientThere, 0, false, x.started
	switch {
	case w.armed:
	case w.timer == nil:
		w.timer = time.AfterFunc(watchAfter, w.tick)
	default:
		w.timer.Reset(watchAfter)
	}
	w.armed = true
}

// tick looks at the exchange under way, if there is one that is not quick.
func (w *clientWatch) tick() {
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
	// Until the request's content is read, its reader notices who leaves.
	if w.quiet == nil && x.body.done.Load() {
		w.quiet = make(chan struct{})
		go w.look(x, w.quiet)
	}
	next, silent := w.listen(x)
	if silent {
		w.armed = false
		w.giveUp(x, clientSilent)
		return
	}
	w.timer.Reset(next)
}

// look is the watching read.
func (w *clientWatch) look(x *plainExchange, quiet chan struct{}) {
	defer close(quiet)
	err := x.of.wire.Await()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil || w.x != x: // a further request, or stop's deadline
	case errors.Is(err, io.EOF): // perhaps a half-close: the answer is still wanted
		w.await(x)
	default:
		w.giveUp(x, clientGone)
	}
}

// await gives a client that has ended its side a while to take some of the
// answer, again and again. w.mu is held.
func (w *clientWatch) await(x *plainExchange) {
	limit, before := x.of.forwarder.Linger, x.down.Load()
	if limit <= 0 {
		return
	}
	w.linger = time.AfterFunc(limit, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.x != x:
		case x.down.Load() > before:
			w.await(x)
		default:
			w.giveUp(x, clientGone)
		}
	})
}

// giveUp ends x. w.mu is held.
func (w *clientWatch) giveUp(x *plainExchange, end watchEnd) {
	if w.end != clientThere {
		return
	}
	if w.end = end; end == clientSilent {
		x.cutSilent()
	}
	w.cancel()
}

// stop ends the watching, and says what became of the client. The connection's
// reader is the caller's again.
func (w *clientWatch) stop() watchEnd {
	w.mu.Lock()
	x, quiet := w.x, w.quiet
	w.x, w.cancel, w.quiet = nil, nil, nil
	if w.linger != nil {
		w.linger.Stop()
		w.linger = nil
	}
	w.mu.Unlock()
	if quiet != nil {
		x.of.wire.Wake()
		<-quiet
		x.of.wire.Settle()
	}
	return w.end
}

// close lets go of the timer.
func (w *clientWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed = true; w.timer != nil {
		w.timer.Stop()
	}
}
