package proxy

import "sync"

// mostIdleWorkers bounds the goroutines that wait for the next connection.
const mostIdleWorkers = 32

// workers is a pool of goroutines that serve client connections, each one at a
// time. A goroutine that has served one has a stack large enough for the next one;
// growing it is a good part of what a new goroutine costs. The zero value is ready
// to use.
type workers struct {
	mu    sync.Mutex
	idle  []chan *clientConn // the one last used comes last
	ended bool
}

// do serves c on a goroutine, and returns at once.
func (w *workers) do(c *clientConn) {
	w.mu.Lock()
	if last := len(w.idle) - 1; last >= 0 {
		worker := w.idle[last]
		w.idle = w.idle[:last]
		w.mu.Unlock()
		worker <- c // does not wait: the channel has room for one
		return
	}
	w.mu.Unlock()
	go w.work(c)
}

// work serves connections until there are enough idle workers.
func (w *workers) work(c *clientConn) {
	next := make(chan *clientConn, 1)
	for ; c != nil; c = <-next {
		c.serve()
		if !w.rest(next) {
			return
		}
	}
}

// rest adds a worker to the idle ones, unless there are enough.
func (w *workers) rest(worker chan *clientConn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || len(w.idle) >= mostIdleWorkers {
		return false
	}
	w.idle = append(w.idle, worker)
	return true
}

// end ends the idle workers now, and the others after their connection.
func (w *workers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, worker := range w.idle {
		close(worker)
	}
	w.idle = nil
}
