package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/relay"
)

// A client that has gone gives back what it holds, although its request still waits: for
// its turn to log in, for a name server, for the target.

// errClientGone is the cause for which a context is done whose client has gone.
var errClientGone = errors.New("the client has gone")

// watcher watches the client of a request until stop is called. It calls gone at most once,
// when the client has reset its connection or stream, or has ended its side with nothing
// held behind the request's head. An end behind early bytes is a half-close: the client
// may still read. After stop has returned gone is not called, and the connection may be
// read again.
type watcher func(gone func()) (stop func())

// whileThere returns a context that is done with parent, or with the cause errClientGone
// when the client has gone. The caller calls stop.
func (a requestInfo) whileThere(parent context.Context) (ctx context.Context, stop func()) {
	if a.watch == nil {
		return parent, func() {}
	}
	ctx, cancel := context.WithCancelCause(parent)
	end := a.watch(func() { cancel(errClientGone) })
	return ctx, func() {
		end()
		cancel(nil)
	}
}

// clientGone returns the Error for a client that has gone.
func clientGone(phase tunnel.Phase) *tunnel.Error {
	return &tunnel.Error{Phase: phase, Type: tunnel.ErrorConnectionTerminated, Rule: string(relay.ClosedByClient), Detail: "the client has gone", Err: errClientGone}
}

// leaveCheck is how often the connection of a waiting client is looked at.
const leaveCheck = 250 * time.Millisecond

// leaveWatch looks at a client from time to time, so that a request that does not wait
// costs no more than a timer.
type leaveWatch struct {
	mu    sync.Mutex
	left  func() bool // whether the client has gone
	gone  func()      // nil = over
	timer *time.Timer
}

// watchBy returns the watcher that asks left, which must not wait.
func watchBy(left func() bool) watcher {
	return func(gone func()) (stop func()) {
		w := &leaveWatch{left: left, gone: gone}
		w.mu.Lock()
		w.timer = time.AfterFunc(leaveCheck, w.look)
		w.mu.Unlock()
		return w.stop
	}
}

func (w *leaveWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone, w.left = nil, nil // the timer may outlive this, and must not hold the head
	w.timer.Stop()
}

func (w *leaveWatch) look() {
	defer panics.Recover("the watch of a client", nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.gone == nil:
	case w.left():
		w.gone()
		w.gone = nil
	default:
		w.timer.Reset(leaveCheck)
	}
}

// hasLeft reports whether the client has gone. It never waits. Nothing else may read the
// connection.
func (c *clientConn) hasLeft() bool {
	state := sock.PeerOf(c.socket)
	switch {
	case state.Reset, c.isDropped():
		return true
	case !state.Ended || c.br == nil || c.br.Buffered() > 0:
		return false
	case c.secure == nil:
		return !state.Held
	}
	// All that the client has sent is here: a close_notify, or early bytes before it.
	_, err := c.br.Peek(1)
	return err != nil
}

// streamHasLeft returns what reports whether a client has reset its stream, or has gone
// altogether.
func streamHasLeft(s *h2.Stream) func() bool {
	return func() bool {
		select {
		case <-s.Done():
			return true
		default:
			return false
		}
	}
}
