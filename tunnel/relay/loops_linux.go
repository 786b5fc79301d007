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

// Loops are the event loops that relay between plain sockets. They are
// started with the first tunnel for which there are descriptors enough; the
// zero value is ready.
type Loops struct {
	mu     sync.Mutex
	loops  *splice.Loops // nil: not started yet
	closed bool
}

// loopRelay is a relay on the loops.
type loopRelay struct{ *splice.Tunnel }

// loopCodes are the reasons to end a tunnel from outside, by splice's code.
var loopCodes = [...]ClosedBy{ClosedByError, ClosedByDrain, ClosedByRevoked, ClosedByLimit}

// loopEnds are splice's words for who ended a tunnel; for EndStopped the code
// tells.
var loopEnds = [...]ClosedBy{
	splice.EndClient: ClosedByClient, splice.EndTarget: ClosedByTarget, splice.EndIdle: ClosedByIdle,
	splice.EndLinger: ClosedByLinger, splice.EndStopped: "", splice.EndFailed: ClosedByError,
}

func (r loopRelay) End(by ClosedBy) {
	for code, reason := range loopCodes {
		if reason == by {
			r.Stop(uint8(code))
			return
		}
	}
	r.Stop(0)
}

// Start is Start on the loops. False means that nothing happened: a conn
// is more than a socket, or there was no descriptor to be had.
func (l *Loops) Start(client, target Side, limits Limits, done func(Result)) (Running, bool) {
	if !isSocket(client.Conn) || !isSocket(target.Conn) {
		return nil, false
	}
	loops := l.started()
	if loops == nil {
		return nil, false
	}
	clientFD, targetFD, ok := takeSockets(client.Conn, target.Conn)
	if !ok {
		return nil, false
	}
	t := loops.Add(splice.Side{FD: clientFD, Early: client.Early, TCP: isOwnSocket(client.Conn)},
		splice.Side{FD: targetFD, Early: target.Early, TCP: isOwnSocket(target.Conn)},
		splice.Limits{Idle: limits.Idle, Linger: limits.Linger, Grace: cmp.Or(limits.grace, grace)},
		func(result splice.Result) { done(loopResult(result)) })
	return loopRelay{t}, true
}

// Run starts the loops, which otherwise start with the first tunnel that they can
// take.
func (l *Loops) Run() { l.started() }

// IdleDescriptors is how many descriptors the loops' pipes keep open that hold no
// bytes.
func (l *Loops) IdleDescriptors() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loops == nil {
		return 0
	}
	_, idle := l.loops.Pipes()
	return 2 * idle
}

// started returns the loops, or nil if they cannot be started now: the next
// tunnel tries again.
func (l *Loops) started() *splice.Loops {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loops == nil && !l.closed {
		l.loops, _ = splice.Start(0)
	}
	return l.loops
}

// Close ends the loops; every relay on them must be over.
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

func isSocket(conn net.Conn) bool {
	switch conn := conn.(type) {
	case sock.TCP:
		return true
	case *net.UnixConn:
		return conn.LocalAddr().Network() == "unix"
	}
	return false
}

func isOwnSocket(conn net.Conn) bool {
	_, own := conn.(*sock.Conn)
	return own
}

// takeSockets takes both descriptors out of the hands of Go's poller and closes
// the conns. If it cannot have both it leaves both.
func takeSockets(client, target net.Conn) (clientFD, targetFD int, ok bool) {
	clientFD, ok = takeSocket(client)
	if !ok {
		return -1, -1, false
	}
	if targetFD, ok = takeSocket(target); !ok {
		leaveSocket(client, clientFD)
		return -1, -1, false
	}
	for _, conn := range []net.Conn{client, target} {
		if _, taken := conn.(*sock.Conn); !taken {
			conn.Close()
		}
	}
	return clientFD, targetFD, true
}

// takeSocket returns a socket's descriptor, or that of a conn of package net
// under a second number. It stays non-blocking: that is the socket's, not the
// number's.
func takeSocket(conn net.Conn) (fd int, ok bool) {
	if s, ok := conn.(*sock.Conn); ok {
		return s.Detach()
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, false
	}
	var duped error
	err = raw.Control(func(have uintptr) { fd, duped = unix.FcntlInt(have, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, err == nil && duped == nil
}

// leaveSocket undoes takeSocket.
func leaveSocket(conn net.Conn, fd int) {
	if s, ok := conn.(*sock.Conn); ok {
		s.Restore(fd)
		return
	}
	_ = unix.Close(fd)
}
