package relay

import (
	"net"
	"testing"
	"time"

	"culvert/tunnel/internal/testkit"
)

// panicConn panics in one of its methods.
type panicConn struct {
	net.Conn
	in string
}

func (c panicConn) Read(b []byte) (int, error) {
	if n, err := c.Conn.Read(b); c.in != "Read" {
		return n, err
	}
	panic("a bug of Read")
}

func (c panicConn) Write(b []byte) (int, error) {
	if c.in == "Write" {
		panic("a bug of Write")
	}
	return c.Conn.Write(b)
}

func (c panicConn) Close() error {
	_ = c.Conn.Close()
	if c.in == "Close" {
		panic("a bug of Close")
	}
	return nil
}

// A panic on one of its connections ends a relay as a failure of this machine. It closes
// both connections, and done is called.
func TestPanicEndsTheRelay(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"Read", "Write", "Close"} {
		t.Run(in, func(t *testing.T) {
			client, ours := net.Pipe()
			target, theirs := net.Pipe()
			done := make(chan Result, 1)
			r := Start(Side{Conn: ours}, Side{Conn: panicConn{theirs, in}}, Limits{}, func(r Result) { done <- r })
			switch in {
			case "Read":
				go target.Write([]byte("hello"))
			case "Write":
				go client.Write([]byte("hello"))
			case "Close":
				r.End(ClosedByDrain)
			}
			result := testkit.Receive(t, "the result", done)
			if want := map[string]ClosedBy{"Read": ClosedByError, "Write": ClosedByError, "Close": ClosedByDrain}[in]; result.ClosedBy != want {
				t.Errorf("closed by %q, want %q", result.ClosedBy, want)
			}
			for name, conn := range map[string]net.Conn{"client": client, "target": target} {
				conn.SetDeadline(time.Now().Add(time.Minute))
				if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
					t.Errorf("the %s's connection is not closed: %v", name, err)
				}
			}
		})
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// A panic of the one that is told of the end is no other tunnel's.
func TestPanicOfDone(t *testing.T) {
	t.Parallel()
	client, ours := net.Pipe()
	_, theirs := net.Pipe()
	called := make(chan struct{})
	r := Start(Side{Conn: ours}, Side{Conn: theirs}, Limits{}, func(Result) {
		defer close(called)
		panic("a bug of done")
	})
	r.End(ClosedByDrain)
	testkit.Receive(t, "done", called)
	client.SetDeadline(time.Now().Add(time.Minute))
	if _, err := client.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the client's connection is not closed: %v", err)
	}
}
