package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// clientWatch notices a client that leaves while its answer is awaited or on
// its way.
type clientWatch struct {
	x      *plainExchange
	conn   net.Conn
	cancel func()

	mu    sync.Mutex
	timer *time.Timer
	ended bool          // stop was called
	quiet chan struct{} // closed when the watching read has returned; nil = none began
	gone  bool
}

// watchAfter spares quick requests the price of being watched.
const watchAfter = 500 * time.Millisecond

// watch cancels the request if the client's connection breaks, or ends and
// then takes nothing more for the linger time.
func (x *plainExchange) watch(cancel func()) *clientWatch {
	w := &clientWatch{x: x, conn: x.c.conn, cancel: cancel}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(watchAfter, w.look)
	return w
}

// look begins the watching read, once the request's content is read: until
// then the content's reader notices.
func (w *clientWatch) look() {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	if !w.x.body.done.Load() {
		w.timer.Reset(watchAfter)
		w.mu.Unlock()
		return
	}
	w.quiet = make(chan struct{})
	w.mu.Unlock()
	_, err := w.x.c.br.Peek(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer close(w.quiet)
	switch {
	case err == nil || w.ended: // a further request, or stop's deadline
	case errors.Is(err, io.EOF): // perhaps a half-close: the answer is still wanted
		w.linger()
	default:
		w.leave()
	}
}

// linger gives a client that has ended its side a while to take some of the
// answer, again and again. w.mu is held.
func (w *clientWatch) linger() {
	limit, before := orDefault(w.x.c.server.Linger, DefaultLinger), w.x.down.Load()
	if limit <= 0 {
		return
	}
	w.timer = time.AfterFunc(limit, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.ended:
		case w.x.down.Load() > before:
			w.linger()
		default:
			w.leave()
		}
	})
}

// leave gives the request up. w.mu is held.
func (w *clientWatch) leave() {
	w.gone = true
	w.cancel()
}

// stop ends the watching and reports whether the client is still there. The
// connection's reader is the caller's again.
func (w *clientWatch) stop() bool {
	w.mu.Lock()
	w.ended = true
	w.timer.Stop()
	quiet := w.quiet
	w.mu.Unlock()
	if quiet == nil {
		return !w.gone
	}
	w.conn.SetReadDeadline(past)
	<-quiet
	w.conn.SetReadDeadline(time.Time{})
	return !w.gone
}
