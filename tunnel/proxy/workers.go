package proxy

import "sync"

// maxIdleWorkers bounds the goroutines that wait for a connection.
const maxIdleWorkers = 32

// workers is a pool of goroutines, each of which serves one client connection at a
// time. A goroutine that has served one has a stack large enough for the next;
// growing the stack is a good part of a new goroutine's cost. The zero value is
// ready to use.
type workers struct {
	mu     sync.Mutex
	idle   []chan *clientConn // the last used is last
	closed bool
}

// serve serves c on a goroutine, and returns at once.
func (w *workers) serve(c *clientConn) {
	w.mu.Lock()
	if last := len(w.idle) - 1; last >= 0 {
		worker := w.idle[last]
		w.idle = w.idle[:last]
		w.mu.Unlock()
		worker <- c // does not wait: the channel has room for one
		return
	}
	w.mu.Unlock()
	go w.run(c)
}

// run serves c, and then further connections until there are enough idle workers.
func (w *workers) run(c *clientConn) {
	next := make(chan *clientConn, 1)
	for ; c != nil; c = <-next {
		c.serveRecovered()
		if !w.addIdle(next) {
			return
		}
	}
}

// addIdle adds a worker to the idle ones. It returns false if there are enough.
func (w *workers) addIdle(worker chan *clientConn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.idle) >= maxIdleWorkers {
		return false
	}
	w.idle = append(w.idle, worker)
	return true
}

// close ends the idle workers, and the others when their connections end.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, worker := range w.idle {
		close(worker)
	}
	w.idle = nil
}
