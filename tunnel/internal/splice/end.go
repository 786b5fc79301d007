//go:build linux

package splice

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A send queue is looked at after one millisecond, two, four and so on: the
// kernel tells nobody when it runs empty.
const mostWaits = 4

func endOf(side int) End {
	if side == client {
		return EndClient
	}
	return EndTarget
}

func (t *Tunnel) endedFirst(e End) {
	if t.first == EndNone {
		t.first = e
	}
}

// endOfFile passes end of file on. The second one is passed on by the close
// that follows.
func (l *loop) endOfFile(t *Tunnel, from int) {
	t.ways[from].over = true
	if t.broke != EndNone {
		return // a half-close would make what was torn look whole
	}
	t.endedFirst(endOf(from))
	if t.halves++; t.halves == 2 {
		return
	}
	t.progress = l.now()
	l.arm(t)
	// Not connected means that a reset came: there will be an event.
	if errno := shutWrite(t.ends[1-from].fd); errno != 0 && errno != unix.ENOTCONN {
		l.fail(t, 1-from, opShutdown, errno)
	}
}

// fail notes that the connection of that side broke. What was received from it
// before still has a while to reach the other side; the way to it is over.
func (l *loop) fail(t *Tunnel, side int, op operation, errno syscall.Errno) {
	if t.halves == 2 {
		return
	}
	t.ends[side].broken = true
	into := &t.ways[1-side]
	l.drop(into)
	into.over = true
	if t.broke != EndNone {
		return
	}
	t.broke, t.op, t.errno = endOf(side), op, errno
	if errno == unix.ENOBUFS || errno == unix.ENOMEM {
		t.endedFirst(EndFailed)
	} else {
		t.endedFirst(endOf(side))
	}
	t.grace = l.now() + int64(t.limits.Grace)
	l.timers.set(t, t.grace)
}

// settle closes a tunnel both of whose ways are over, once the bytes written
// have left: the reset that is passed on destroys those that have not.
func (l *loop) settle(t *Tunnel) {
	if t.broke != EndNone && l.now() < t.grace {
		for i := range t.ends {
			if e := &t.ends[i]; !e.broken && unsent(e.fd) {
				pause := time.Millisecond << t.waits
				t.waits = min(t.waits+1, mostWaits)
				l.timers.set(t, min(l.now()+int64(pause), t.grace))
				return
			}
		}
	}
	l.finish(t)
}

// finish closes both sockets: with a reset, if the tunnel broke elsewhere.
func (l *loop) finish(t *Tunnel) {
	l.timers.remove(t)
	for i := range t.ends {
		t.ways[i].over = true
		l.drop(&t.ways[i])
		if e := &t.ends[i]; t.broke != EndNone && !e.broken {
			_ = unix.SetsockoptLinger(int(e.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
	}
	for i := range t.ends {
		closeSocket(t.ends[i].fd)
	}
	if state := t.state.Swap(closed); t.first == EndStopped {
		t.code = uint8(state)
	}
	l.over = append(l.over, t)
}

// attend looks at a tunnel from the inbox.
func (l *loop) attend(t *Tunnel) {
	switch state := t.state.Load(); {
	case state == closed:
	case state == live:
		l.arm(t)
	default:
		l.cut(t, EndStopped)
	}
}

// cut ends a tunnel that might have gone on.
func (l *loop) cut(t *Tunnel, by End) {
	if t.broke == EndNone {
		t.first = by
	}
	l.finish(t)
}

// limit returns the limit now in force, 0 for none.
func (t *Tunnel) limit() (time.Duration, End) {
	idle, linger := max(t.limits.Idle, 0), t.limits.Linger
	if t.halves > 0 && linger > 0 && (idle == 0 || linger < idle) {
		return linger, EndLinger
	}
	return idle, EndIdle
}

// arm sets the timer for the limit in force.
func (l *loop) arm(t *Tunnel) {
	if t.broke != EndNone {
		return // the timer is set for the grace
	}
	if limit, _ := t.limit(); limit > 0 {
		l.timers.set(t, t.progress+int64(limit))
	}
}

// expire is called when t's timer fires.
func (l *loop) expire(t *Tunnel) {
	limit, by := t.limit()
	switch {
	case t.broke != EndNone && t.ways[client].over && t.ways[target].over:
		l.settle(t)
	case t.broke != EndNone:
		l.finish(t)
	case t.progress+int64(limit) > l.now():
		l.arm(t)
	default:
		l.cut(t, by)
	}
}
