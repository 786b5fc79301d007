package relay

import (
	"cmp"
	"net"
	"sync"
	"syscall"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/splice"

	"golang.org/x/sys/unix"
)

// Loops are the event loops that relay between plain sockets. They start with the
// first tunnel for which there are enough descriptors. The zero value is ready to
// use. The caller closes them when no relay runs on them any more.
type Loops struct {
	// MaxPipes is the most pipes that the loops have open, of two descriptors each; 0 =
	// 256, negative = none. It must not change once a tunnel was started.
	MaxPipes int

	mu     sync.Mutex
	loops  *splice.Loops // nil = not started
	closed bool
}

// loopRelay is a relay on the event loops.
type loopRelay struct{ *splice.Tunnel }

// loopCodes are the reasons for which a tunnel can be ended from outside. Package
// splice knows them by their indexes.
var loopCodes = [...]ClosedBy{ClosedByError, ClosedByDrain, ClosedByRevoked, ClosedByLimit}

// loopEnds translates what ended a tunnel from the terms of package splice. After
// EndStopped the code decides.
var loopEnds = [...]ClosedBy{
	splice.EndClient: ClosedByClient, splice.EndTarget: ClosedByTarget, splice.EndIdle: ClosedByIdle,
	splice.EndLinger: ClosedByLinger, splice.EndStopped: "", splice.EndFailed: ClosedByError,
}

// End implements Running.
func (r loopRelay) End(by ClosedBy) {
	for code, reason := range loopCodes {
		if reason == by {
			r.Stop(uint8(code))
			return
		}
	}
	r.Stop(0)
}

// Start is like the function Start, but relays on the event loops. If it returns false
// it has changed nothing: one of the connections is more than a socket, or there are
// not enough descriptors.
func (l *Loops) Start(client, target Side, limits Limits, done func(Result)) (Running, bool) {
	if !isSocket(client.Conn) || !isSocket(target.Conn) {
		return nil, false
	}
	loops := l.started()
	if loops == nil {
		return nil, false
	}
	clientFD, targetFD, ok := detachBoth(client.Conn, target.Conn)
	if !ok {
		return nil, false
	}
	t := loops.Add(splice.Side{FD: clientFD, Early: client.Early, TCP: isOwnSocket(client.Conn)},
		splice.Side{FD: targetFD, Early: target.Early, TCP: isOwnSocket(target.Conn)},
		splice.Limits{Idle: limits.Idle, Linger: limits.Linger, Grace: cmp.Or(limits.grace, grace)},
		func(result splice.Result) { done(loopResult(result)) })
	return loopRelay{t}, true
}

// Run starts the event loops ahead of the first tunnel. A count of goroutines and
// descriptors that is made afterwards includes theirs.
func (l *Loops) Run() { l.started() }

// Descriptors returns how many descriptors the event loops take, once they run, besides
// those of tunnels and pipes.
func (l *Loops) Descriptors() int { return splice.Descriptors() }

// IdleDescriptors returns the number of descriptors that the event loops keep open for
// pipes that are not in use. Tests that look for leaks subtract them.
func (l *Loops) IdleDescriptors() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loops == nil {
		return 0
	}
	_, idle := l.loops.Pipes()
	return 2 * idle
}

// started starts the event loops if they do not run yet, and returns them. It returns
// nil if they cannot be started now; the next tunnel tries again.
func (l *Loops) started() *splice.Loops {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loops == nil && !l.closed {
		l.loops, _ = splice.Start(0, l.MaxPipes)
	}
	return l.loops
}

// Close ends the event loops. Every relay on them must be over.
func (l *Loops) Close() {
	l.mu.Lock()
	loops := l.loops
	if l.closed {
		loops = nil
	}
	l.closed = true
	l.mu.Unlock()
	if loops != nil {
		loops.Close()
	}
}

func loopResult(r splice.Result) Result {
	by := loopEnds[r.First]
	if r.First == splice.EndStopped {
		by = loopCodes[r.Code]
	}
	out := Result{Up: r.Up, Down: r.Down, ClosedBy: by}
	if r.Err != nil {
		broke := ClosedByClient
		if r.Broke == splice.EndTarget {
			broke = ClosedByTarget
		}
		out.Err = &Broken{broke, r.Err}
	}
	return out
}

// isSocket reports whether conn is a stream socket and nothing more.
func isSocket(conn net.Conn) bool {
	switch conn := conn.(type) {
	case sock.TCP:
		return true
	case *net.UnixConn:
		return conn.LocalAddr().Network() == "unix"
	}
	return false
}

// isOwnSocket reports whether conn is a TCP connection that Listen or Connect of
// package sock made.
func isOwnSocket(conn net.Conn) bool {
	_, own := conn.(*sock.Conn)
	return own
}

// detachBoth returns the descriptors of two sockets, out of Go's poller, and closes
// the connections. If ok is false, it has changed neither.
func detachBoth(client, target net.Conn) (clientFD, targetFD int, ok bool) {
	clientFD, ok = detach(client)
	if !ok {
		return -1, -1, false
	}
	if targetFD, ok = detach(target); !ok {
		reattach(client, clientFD)
		return -1, -1, false
	}
	for _, conn := range []net.Conn{client, target} {
		if !isOwnSocket(conn) {
			conn.Close()
		}
	}
	return clientFD, targetFD, true
}

// detach returns the descriptor of a socket. For a connection of package net it is a
// duplicate, which does not block either: that is a property of the socket.
func detach(conn net.Conn) (fd int, ok bool) {
	if s, ok := conn.(*sock.Conn); ok {
		return s.Detach()
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, false
	}
	var failed error
	err = raw.Control(func(have uintptr) { fd, failed = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, err == nil && failed == nil
}

// reattach undoes detach.
func reattach(conn net.Conn, fd int) {
	if s, ok := conn.(*sock.Conn); ok {
		s.Restore(fd)
		return
	}
	_ = unix.Close(fd)
}
