//go:build linux

package splice

import (
	"io"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// bulkSize is the size from which a piece is cheaper to splice than to copy. The
	// size of the last piece predicts that of the next.
	bulkSize = 16 << 10
	// turnSize is how many bytes one way may move before it is the turn of other
	// tunnels. A smaller piece counts as turnPiece.
	turnSize  = 256 << 10
	turnPiece = 16 << 10
)

// handle handles the events of a socket of t.
func (l *loop) handle(t *Tunnel, side int, events uint32) {
	if t.state.Load() == closed {
		return // by an earlier event of the same batch
	}
	e := &t.ends[side]
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.readable = true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.writable = true
	}
	if events&(unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.drains = drainsSlowly
	}
	if events&unix.EPOLLERR != 0 {
		// The socket may not be read from or written to for a long time.
		if errno := pendingError(e.fd); errno != 0 {
			l.fail(t, side, opRead, errno)
		}
	}
	if !t.queued {
		l.turn(t)
	}
}

// turn moves as many bytes of t as possible and allowed.
func (l *loop) turn(t *Tunnel) {
	for from := range t.ways {
		l.pump(t, from)
	}
	if t.ways[client].over && t.ways[target].over {
		l.settle(t)
	}
}

// pump moves bytes one way until one of the sockets is not ready or the turn is over.
func (l *loop) pump(t *Tunnel, from int) {
	w := &t.ways[from]
	for left := l.turnSize; !w.over; {
		if w.pending() {
			if !t.ends[1-from].writable || !l.flush(t, from) {
				return
			}
		}
		if !t.ends[from].readable {
			return
		}
		if left <= 0 {
			l.ready.push(t)
			return
		}
		left -= max(l.receive(t, from), turnPiece)
	}
}

// receive reads a piece, and returns its size. It sends a small one on from the buffer of
// the loop, which takes two system calls in all.
func (l *loop) receive(t *Tunnel, from int) int {
	w := &t.ways[from]
	n, errno, spliced := 0, syscall.Errno(0), false
	if w.bulk && !w.plain {
		n, errno, spliced = l.receivePipe(t, from)
	}
	if !spliced {
		n, errno = recv(t.ends[from].fd, l.buffer)
	}
	switch {
	case errno == unix.EAGAIN:
		t.ends[from].readable = false
		return 0
	case errno != 0:
		w.over = true
		l.fail(t, from, opRead, errno)
		return 0
	case n == 0:
		l.endOfFile(t, from)
		return 0
	}
	w.bulk = n >= bulkSize
	if !spliced {
		t.ends[from].readable = n == len(l.buffer) || !t.ends[from].drained()
		w.held = l.buffer[:n]
		if !l.flush(t, from) {
			w.held = slices.Clone(w.held) // other tunnels need the buffer
		}
	}
	return n
}

// drained reports whether a read that did not fill the buffer emptied e.
func (e *end) drained() bool {
	if e.drains == drainsUnknown {
		e.drains = drainsSlowly
		if isTCP(e.fd) {
			e.drains = drainsAtOnce
		}
	}
	return e.drains == drainsAtOnce
}

// receivePipe splices a piece into a pipe, and reports false if that is not possible.
func (l *loop) receivePipe(t *Tunnel, from int) (int, syscall.Errno, bool) {
	w := &t.ways[from]
	pipe := l.pipes.get()
	if pipe == nil {
		return 0, 0, false
	}
	n, errno := move(t.ends[from].fd, pipe.w, pipeSize)
	if n > 0 {
		w.pipe, w.n = pipe, int32(n)
		return n, 0, true
	}
	l.pipes.put(pipe, 0)
	if errno == unix.EINVAL {
		w.plain = true
		return 0, 0, false
	}
	return 0, errno, true
}

// flush sends the bytes on their way, and reports whether all were sent.
func (l *loop) flush(t *Tunnel, from int) bool {
	w, to := &t.ways[from], &t.ends[1-from]
	for w.pending() {
		n, errno := 0, syscall.Errno(0)
		if w.pipe != nil {
			n, errno = move(w.pipe.r, to.fd, int(w.n))
			if errno == unix.EINVAL {
				errno = l.unpipe(w)
			}
		} else {
			n, errno = send(to.fd, w.held)
		}
		switch {
		case errno == unix.EAGAIN:
			l.awaitRoom(t, 1-from)
			return false
		case errno != 0:
			l.fail(t, 1-from, opWrite, errno)
			return false
		case n == 0:
			l.fail(t, 1-from, opWrite, unix.EIO)
			return false
		}
		l.sent(t, from, n)
	}
	return true
}

// sent counts n bytes as written. Nothing else is progress.
func (l *loop) sent(t *Tunnel, from, n int) {
	w := &t.ways[from]
	t.moved[from].Add(int64(n))
	if t.flight < 0 {
		l.takeOff(t)
	}
	if t.limits.Idle > 0 || t.limits.Linger > 0 {
		t.progress = l.now()
	}
	if w.pipe == nil {
		if w.held = w.held[n:]; len(w.held) == 0 {
			w.held = nil
		}
		return
	}
	if w.n -= int32(n); w.n == 0 {
		l.pipes.put(w.pipe, 0)
		w.pipe = nil
	}
}

// unpipe moves the content of a pipe to w.held, because the socket cannot be spliced to.
func (l *loop) unpipe(w *way) syscall.Errno {
	held := make([]byte, w.n)
	n, err := io.ReadFull(w.pipe, held)
	w.held, w.plain = held[:n], true
	l.pipes.put(w.pipe, w.n-int32(n))
	w.pipe, w.n = nil, 0
	if err != nil {
		return unix.EIO
	}
	return 0
}

// drop discards the bytes on their way.
func (l *loop) drop(w *way) {
	if w.pipe != nil {
		l.pipes.put(w.pipe, w.n)
	}
	w.pipe, w.n, w.held = nil, 0, nil
}

// awaitRoom registers for the event that the socket accepts more.
func (l *loop) awaitRoom(t *Tunnel, side int) {
	e := &t.ends[side]
	e.writable = false
	if e.watched {
		return
	}
	e.watched = true
	l.mu.Lock()
	errno := l.register(t, side, unix.EPOLL_CTL_MOD)
	l.mu.Unlock()
	if errno != 0 {
		l.fail(t, side, opRegister, errno)
	}
}
