//go:build linux

package splice

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A send queue is checked after one millisecond, two, four and so on, since the kernel
// does not report that it has become empty. mostWaits bounds the doubling.
const mostWaits = 4

// endOf returns the End that stands for a side.
func endOf(side int) End {
	if side == client {
		return EndClient
	}
	return EndTarget
}

// endedFirst records what ended the tunnel, unless that is known.
func (t *Tunnel) endedFirst(e End) {
	if t.first == EndNone {
		t.first = e
	}
}

// endOfFile passes the end of file of a side on. The second end of file is passed on by
// the close that follows.
func (l *loop) endOfFile(t *Tunnel, from int) {
	t.ways[from].over = true
	if t.broke != EndNone {
		return // a half-close would make an incomplete answer look complete
	}
	t.endedFirst(endOf(from))
	if t.halves++; t.halves == 2 {
		return
	}
	t.progress = l.now()
	l.arm(t)
	if t.flight < 0 {
		l.takeOff(t) // its acknowledgement may be all that is missing
	}
	// ENOTCONN means that a reset has arrived, of which there will be an event.
	if errno := shutWrite(t.ends[1-from].fd); errno != 0 && errno != unix.ENOTCONN {
		l.fail(t, 1-from, opShutdown, errno)
	}
}

// fail records that the connection of a side broke. Bytes that were received from it
// before have some time to reach the other side; the way to it is over.
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

// settle closes a tunnel of which both ways are over. If a reset is to be passed on it
// first waits until the bytes written have left, because the reset destroys those that
// have not.
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

// finish closes both sockets. If one side broke, the other is closed with a reset. So is
// one whose peer has vanished, since the kernel would go on trying to reach it.
func (l *loop) finish(t *Tunnel) {
	l.timers.remove(t)
	l.land(t)
	for i := range t.ends {
		t.ways[i].over = true
		l.drop(&t.ways[i])
		if e := &t.ends[i]; t.broke != EndNone && (!e.broken || e.vanished) {
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

// attend handles a tunnel from the inbox.
func (l *loop) attend(t *Tunnel) {
	switch state := t.state.Load(); {
	case state == closed:
	case state == live:
		l.arm(t)
	default:
		l.cut(t, EndStopped)
	}
}

// cut ends a tunnel whose sides have not ended it.
func (l *loop) cut(t *Tunnel, by End) {
	if t.broke == EndNone {
		t.first = by
	}
	l.finish(t)
}

// limit returns the limit that is in force now, 0 for none, and the End it leads to.
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
		return // the timer is set to t.grace
	}
	if limit, _ := t.limit(); limit > 0 {
		l.timers.set(t, t.progress+int64(limit))
	}
}

// expire is called when the timer of t fires.
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
