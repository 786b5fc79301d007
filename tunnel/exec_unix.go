//go:build unix

package tunnel

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// execPatience is how long bytes that a command left behind may make no
// progress on their way into the tunnel.
const execPatience = 2 * time.Second

// Exec runs a command whose standard input and output are the tunnel, both ways
// one socket, and waits for its end. Half-closes are passed on both ways; when
// the command has ended, what it wrote still goes out, and what still comes
// in is of no use to anybody.
// Conn is closed on return. The error is the command's, of Start or of Wait, or
// an *Error of PhaseRelay if the tunnel broke.
func Exec(cmd *exec.Cmd, conn *Conn) (StdioResult, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		conn.Close()
		return StdioResult{}, os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	ours, theirs := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
	local, err := net.FileConn(ours)
	ours.Close()
	if err == nil {
		cmd.Stdin, cmd.Stdout = theirs, theirs
		if err = cmd.Start(); err != nil {
			local.Close()
		}
	}
	theirs.Close()
	if err != nil {
		conn.Close()
		return StdioResult{}, err
	}
	over := make(chan relayResult, 1)
	r := startRelay(relaySide{conn: local}, relaySide{conn: conn.NetConn(), early: conn.TakeEarly()}, relayLimits{}, func(result relayResult) { over <- result })
	failed := cmd.Wait()
	result := drainUp(r, over)
	stdio := StdioResult{Up: result.up, Down: result.down}
	var broken *Broken
	if failed == nil && errors.As(result.err, &broken) && result.closedBy == ClosedByTarget {
		return stdio, &Error{Phase: PhaseRelay, Type: ErrorConnectionTerminated, Target: conn.Target(), Hop: conn.LastHop(), Detail: broken.Reason(), Err: broken.Err}
	}
	return stdio, failed
}

// drainUp waits for a relay whose client has left, for as long as that client's
// bytes make progress.
func drainUp(r runningRelay, over <-chan relayResult) relayResult {
	tick := time.NewTicker(execPatience)
	defer tick.Stop()
	for before := int64(-1); ; {
		select {
		case result := <-over:
			return result
		case <-tick.C:
			up, _ := r.counts()
			if up == before {
				r.end(ClosedByClient)
				return <-over
			}
			before = up
		}
	}
}
