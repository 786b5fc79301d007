package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// clientWatch notices a client that leaves while its answer is awaited.
type clientWatch struct {
	conn  net.Conn
	timer *time.Timer
	mu    sync.Mutex
	ended bool          // stop was called
	quiet chan struct{} // closed when the watching read has returned; nil = none began
	gone  bool
}

// watchAfter spares quick requests the price of being watched.
const watchAfter = 500 * time.Millisecond

// watch cancels the request if the client's connection breaks, or ended and
// stays so for the linger time.
func (x *plainExchange) watch(cancel func()) *clientWatch {
	w := &clientWatch{conn: x.c.conn}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(watchAfter, func() { w.look(x, cancel) })
	return w
}

// look begins the watching read, once the request's content is read: until
// then the content's reader notices.
func (w *clientWatch) look(x *plainExchange, cancel func()) {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	if !x.body.done.Load() {
		w.timer.Reset(watchAfter)
		w.mu.Unlock()
		return
	}
	w.quiet = make(chan struct{})
	w.mu.Unlock()
	_, err := x.c.br.Peek(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer close(w.quiet)
	if err == nil || w.ended {
		return // a further request, or stop's deadline
	}
	if errors.Is(err, io.EOF) { // perhaps a half-close: the answer is still wanted
		linger := orDefault(x.c.server.Linger, DefaultLinger)
		if linger > 0 {
			w.timer = time.AfterFunc(linger, cancel)
		}
		return
	}
	w.gone = true
	cancel()
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
		return true
	}
	w.conn.SetReadDeadline(time.Unix(1, 0))
	<-quiet
	w.conn.SetReadDeadline(time.Time{})
	return !w.gone
}
