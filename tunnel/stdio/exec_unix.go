//go:build unix

package stdio

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/relay"

	"golang.org/x/sys/unix"
)

// execPatience is how long bytes that a command has left behind may make no progress
// on their way into the tunnel.
const execPatience = 2 * time.Second

// Exec runs a command whose standard input and output are the tunnel, as one socket,
// and waits for its end. Half-closes are passed on both ways. When the command has
// ended, the bytes that it wrote still go out, and bytes that still come in are
// dropped. Exec closes conn.
//
// The error is that of the command's Start or Wait. If the command succeeded but the
// target's side of the tunnel broke, it is a *tunnel.Error of PhaseRelay.
func Exec(cmd *exec.Cmd, conn *client.Conn) (Result, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		conn.Close()
		return Result{}, os.NewSyscallError("socketpair", err)
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
		return Result{}, err
	}
	over := make(chan relay.Result, 1)
	r := relay.Start(relay.Side{Conn: local}, relay.Side{Conn: conn.NetConn(), Early: conn.TakeEarly()}, relay.Limits{}, func(result relay.Result) { over <- result })
	failed := cmd.Wait()
	result := drainUp(r, over)
	stdio := Result{Up: result.Up, Down: result.Down}
	var broken *relay.Broken
	if failed == nil && errors.As(result.Err, &broken) && result.ClosedBy == relay.ClosedByTarget {
		return stdio, &tunnel.Error{Phase: tunnel.PhaseRelay, Type: tunnel.ErrorConnectionTerminated, Target: conn.Target(), Hop: conn.LastHop(), Detail: broken.Reason(), Err: broken.Err}
	}
	return stdio, failed
}

// KeepFromChildren keeps a descriptor of this process from the processes that it starts.
func KeepFromChildren(fd int) { unix.CloseOnExec(fd) }

// drainUp waits for the end of a relay whose client has left, as long as the client's
// last bytes make progress.
func drainUp(r relay.Running, over <-chan relay.Result) relay.Result {
	tick := time.NewTicker(execPatience)
	defer tick.Stop()
	for before := int64(-1); ; {
		select {
		case result := <-over:
			return result
		case <-tick.C:
			up, _ := r.Counts()
			if up == before {
				r.End(relay.ClosedByClient)
				return <-over
			}
			before = up
		}
	}
}
