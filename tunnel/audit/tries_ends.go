package audit

import (
	"io"
	"net"
	"time"
)

// How tunnels end: the tries of the checks in checks_tunnel.go.

func targetCloses(t *trial) {
	t.target.serve(func(net.Conn) {})
	k := t.open("")
	if closed, _ := k.ended(t.Patience); !closed {
		t.fail("the connection stays open")
	}
}

// resetByTarget opens a tunnel that the target cuts off.
func (t *trial) resetByTarget() *talk {
	t.target.serve(func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		reset(conn)
	})
	k := t.open("")
	k.send("x")
	return k
}

func targetResets(t *trial) {
	k := t.resetByTarget()
	if closed, _ := k.ended(t.Patience); !closed {
		t.fail("the connection stays open")
	}
}

// resetSeen wants what was cut off not to look whole.
func resetSeen(t *trial) {
	k := t.resetByTarget()
	switch _, err := k.br.ReadByte(); {
	case err == io.EOF:
		t.warn("it came as an end of file: what was cut off looks whole")
	case err == nil || timedOut(err):
		t.warn("the client is not told at all")
	}
}

// targetGone sends a little when the target has closed both ways: who carries
// that hears of it by a reset, and has both connections to close. A proxy that
// lingers to take what was under way, as RFC 9112, section 9.6 has it, is given
// the time for that.
func targetGone(t *trial) {
	t.target.serve(func(net.Conn) {})
	k := t.open("")
	if closed, _ := k.ended(t.Patience); !closed {
		t.warn("the connection stays open")
	}
	linger, soon := t.Patience+time.Second, max(t.Quiet/10, time.Millisecond)
	k.hush(linger + t.Patience)
	for _, wait := range []time.Duration{soon, soon, linger, soon, soon} {
		if _, err := io.WriteString(k.conn, "x"); err != nil {
			return
		}
		t.pause(wait)
	}
	t.warn("bytes for it are still taken after %s", told(linger))
}

// pause waits, as long as the audit is not cancelled.
func (t *trial) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

func clientCloses(t *trial) {
	t.ends(func(conn net.Conn) { conn.Close() })
}

func clientResets(t *trial) { t.ends(reset) }

// ends wants the target to notice the client's end.
func (t *trial) ends(end func(net.Conn)) {
	ready, over := make(chan string, 1), make(chan string, 1)
	t.target.serve(func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		offer(ready, "")
		_, _ = io.Copy(io.Discard, conn)
		offer(over, "ended")
	})
	k := t.open("")
	k.send("x")
	t.heard(ready, t.Patience)
	end(k.conn)
	if have := t.heard(over, t.Patience); have != "ended" {
		t.fail("the target's connection stays open")
	}
}

func reset(conn net.Conn) {
	if within, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = within.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}
