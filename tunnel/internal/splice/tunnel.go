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
	FD    int    // a connected stream socket that does not block (O_NONBLOCK)
	Early []byte // bytes that were read from it before; owned by the loop, which sends them first
	TCP   bool   // it is a TCP connection; false = not known
}

// Limits are the loop's own reasons to end a tunnel; 0 = no limit.
type Limits struct {
	Idle   time.Duration // how long both ways may be silent
	Linger time.Duration // how long one way may make no progress after the other's end
	Grace  time.Duration // how long bytes received before a reset may take, until it is passed on
}

// End says what ended a tunnel: the side whose end of file or reset came first, or one
// of the other reasons.
type End uint8

// The reasons for the end of a tunnel.
const (
	EndNone    End = iota // it has not ended
	EndClient             // end of file or reset
	EndTarget             // end of file or reset
	EndIdle               // Limits.Idle
	EndLinger             // Limits.Linger
	EndStopped            // Stop or Close
	EndFailed             // a failure of this machine, of neither side
)

// Result is the result of a tunnel that is over.
type Result struct {
	Up, Down int64 // bytes written, client to target and target to client
	First    End   // what ended it
	Code     uint8 // the code given to Stop, with EndStopped
	Broke    End   // the side whose connection broke first, EndClient or EndTarget; EndNone if none did
	Err      error // the error of that, an *os.SyscallError; nil after an orderly end and after Stop
}

// Tunnel is two sockets and the bytes on their way between them. Only the goroutine of
// its loop may use the fields after the first three.
type Tunnel struct {
	loop  *loop
	state atomic.Uint32 // live, closed, or live but to be stopped
	moved [2]atomic.Int64

	done   func(Result)
	limits Limits
	ways   [2]way
	ends   [2]end
	next   *Tunnel // in loop.ready

	progress int64 // the loop's time of the last progress; only kept if there are limits
	due      int64 // the loop's time at which the timer fires
	grace    int64 // the loop's time at which the remaining bytes are given up
	errno    syscall.Errno
	timer    int32 // the index in loop.timers; -1 = the timer is not set
	flight   int32 // the index in loop.flights; -1 = it is not there
	slot     uint32
	op       operation // the system call that failed with errno
	first    End
	broke    End   // EndNone until a connection breaks
	halves   uint8 // ways that have reached end of file
	waits    uint8 // times that a send queue was checked
	queued   bool
	code     uint8
}

// The states of a tunnel. One that Stop was called for is stopping plus the code.
const (
	live     = 0
	closed   = 1
	stopping = 0x100
)

// The sides of a tunnel, which are the indexes of its ends and ways. A way has the index
// of the side it leads from.
const (
	client = 0
	target = 1
)

// end is one of the two sockets of a tunnel. It is readable or writable unless a system
// call has shown that it is not.
type end struct {
	fd       int32
	readable bool
	writable bool
	broken   bool // it was reset or could not be written to
	vanished bool // and that is because the peer has vanished
	watched  bool // registered with EPOLLOUT
	drains   drainage
}

// drainage says whether a read that does not fill the buffer has emptied the socket, so
// that there will be an event when there is more to read. This holds for a TCP
// connection without end of file, error or urgent data.
type drainage uint8

const (
	drainsUnknown drainage = iota
	drainsAtOnce
	drainsSlowly
)

// way is one way through a tunnel. The bytes on their way are in pipe or in held.
type way struct {
	pipe  *pipe  // holds n bytes, or nil
	held  []byte // read but not yet written
	n     int32
	bulk  bool // the last piece was a large one
	plain bool // one of the sockets cannot be spliced
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
		done: done, limits: limits, timer: -1, flight: -1,
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

// Counts returns the bytes written so far, client to target and target to client. Any
// goroutine may call it at any time.
func (t *Tunnel) Counts() (up, down int64) {
	return t.moved[client].Load(), t.moved[target].Load()
}

// Stop ends the tunnel, with code for the result. It does not wait for the end, which
// done reports. Any goroutine may call it. Calling it again, or after the end, does
// nothing.
func (t *Tunnel) Stop(code uint8) {
	if t.state.CompareAndSwap(live, stopping|uint32(code)) {
		t.loop.post(t)
	}
}

// abort ends a tunnel that was not admitted to a loop.
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
