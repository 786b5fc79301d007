//go:build linux

package splice

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Side is one side of a tunnel.
type Side struct {
	FD    int    // a connected stream socket, not blocking (O_NONBLOCK)
	Early []byte // read from it before, the loop's from now on; first to the other side
	TCP   bool   // known to be a TCP connection; false = to be found out
}

// Limits are the reasons to end a tunnel that are not the peers'; 0 = none.
type Limits struct {
	Idle   time.Duration // both ways silent
	Linger time.Duration // one way ended, the other without progress
	Grace  time.Duration // for what was received before a reset, until that is passed on
}

// End says who ended a tunnel: the side whose end of file or reset came first,
// or whoever else closed it.
type End uint8

// Who ended a tunnel.
const (
	EndNone    End = iota
	EndClient      // end of file or reset
	EndTarget      // end of file or reset
	EndIdle        // Limits.Idle
	EndLinger      // Limits.Linger
	EndStopped     // Stop or Close
	EndFailed      // this machine's failure, neither side's
)

// Result is what there is to tell of a tunnel that is over.
type Result struct {
	Up, Down int64 // bytes written, client to target and target to client
	First    End   // who ended it
	Code     uint8 // Stop's, with EndStopped
	Broke    End   // whose connection broke first, EndClient or EndTarget; EndNone if none did
	Err      error // how it broke, an *os.SyscallError; nil for an orderly end and for our own close
}

// Tunnel is two sockets and what is on its way between them. Only its loop's
// goroutine touches the fields below the first three.
type Tunnel struct {
	loop  *loop
	state atomic.Uint32 // live, closed, or live but to be stopped
	moved [2]atomic.Int64

	done   func(Result)
	limits Limits
	ways   [2]way
	ends   [2]end
	next   *Tunnel // in the queue of those that have more to do

	progress int64 // the loop's time of the last, with limits only
	due      int64 // the loop's time at which the timer fires
	grace    int64 // the loop's time at which what is left is given up
	errno    syscall.Errno
	timer    int32 // where the timer is in its heap, -1 for nowhere
	slot     uint32
	op       operation // what failed with errno
	first    End
	broke    End // EndNone until a connection breaks
	halves   uint8
	waits    uint8 // times that a send queue was looked at
	queued   bool
	code     uint8
}

// A tunnel's state; a live one that is to be stopped is stopping plus a code.
const (
	live     = 0
	closed   = 1
	stopping = 0x100
)

// The sides of a tunnel, and the ways, each named for the side it leads from.
const (
	client = 0
	target = 1
)

// end is one of a tunnel's two sockets. Readable and writable mean that
// nothing is known to the contrary.
type end struct {
	fd       int32
	readable bool
	writable bool
	broken   bool // it was reset or could not be written to
	watched  bool // for EPOLLOUT
	drains   drainage
}

// drainage is whether a read that does not fill the buffer has emptied the
// socket, so that the next event tells of more. It has if the socket is a plain
// TCP connection without end of file, error or urgent data.
type drainage uint8

const (
	drainsUnknown drainage = iota
	drainsAtOnce
	drainsSlowly
)

// way is one way through a tunnel. What is on its way is in pipe or in held.
type way struct {
	pipe  *pipe  // with n bytes in it, or nil
	held  []byte // read but not yet written
	n     int32
	bulk  bool // the last piece was a large one
	plain bool // this socket's kernel code does not splice
	over  bool
}

func (w *way) pending() bool { return w.pipe != nil || len(w.held) > 0 }

// operation is a system call that may fail.
type operation uint8

const (
	opRead operation = iota
	opWrite
	opShutdown
	opRegister
)

func (op operation) String() string { return [...]string{"read", "write", "shutdown", "epoll_ctl"}[op] }

func newTunnel(client, target Side, limits Limits, done func(Result)) *Tunnel {
	t := &Tunnel{
		done: done, limits: limits, timer: -1,
		ends: [2]end{{fd: int32(client.FD), writable: true}, {fd: int32(target.FD), writable: true}},
	}
	for i, side := range []*Side{&client, &target} {
		if len(side.Early) > 0 {
			t.ways[i].held = side.Early
		}
		if side.TCP {
			t.ends[i].drains = drainsAtOnce
		}
	}
	return t
}

// Counts returns the bytes written so far, client to target and target to
// client. It may be called at any time, by any goroutine.
func (t *Tunnel) Counts() (up, down int64) {
	return t.moved[client].Load(), t.moved[target].Load()
}

// Stop ends the tunnel, with code for the result. It does not wait: done tells
// when that is over. It may be called by any goroutine; calling it again, or
// after the end, does nothing.
func (t *Tunnel) Stop(code uint8) {
	if t.state.CompareAndSwap(live, stopping|uint32(code)) {
		t.loop.post(t)
	}
}

// abort ends a tunnel that no loop knows.
func (t *Tunnel) abort() {
	t.state.Store(closed)
	for i := range t.ends {
		_ = unix.Close(int(t.ends[i].fd))
	}
	t.loop.finisher.hand(t)
}

func (t *Tunnel) result() Result {
	r := Result{First: t.first, Code: t.code, Broke: t.broke}
	r.Up, r.Down = t.Counts()
	if t.errno != 0 {
		r.Err = os.NewSyscallError(t.op.String(), t.errno)
	}
	return r
}
