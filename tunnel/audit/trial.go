package audit

import (
	"context"
	"fmt"
	"net"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
)

// trial is one run of a check. pass, warn, fail and skip end it at once, by a panic
// that attempt recovers.
type trial struct {
	*bench
	ctx      context.Context
	conns    []net.Conn
	talks    []*talk
	client   *client.Client // that speaks HTTP/2; nil = none does
	frameLog *frameLog
}

// attempt runs a check and returns its outcome. A check that ends by itself has
// passed.
func (t *trial) attempt(try func(*trial)) (o outcome) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case outcome:
			o = p
		default:
			panic(p)
		}
	}()
	try(t)
	return outcome{grade: probe.Pass}
}

func (t *trial) pass(format string, args ...any) {
	panic(outcome{probe.Pass, fmt.Sprintf(format, args...)})
}
func (t *trial) warn(format string, args ...any) {
	panic(outcome{probe.Warn, fmt.Sprintf(format, args...)})
}
func (t *trial) fail(format string, args ...any) {
	panic(outcome{probe.Fail, fmt.Sprintf(format, args...)})
}
func (t *trial) skip(format string, args ...any) {
	panic(outcome{probe.Skip, fmt.Sprintf(format, args...)})
}

// end closes what the trial opened.
func (t *trial) end() {
	for _, c := range t.conns {
		c.Close()
	}
	if t.client != nil {
		t.client.CloseIdleConnections()
	}
	if t.target != nil {
		t.target.closeConns()
	}
}

// evidence returns what was sent and received, with credentials masked, in the last
// conversation that had an answer.
func (t *trial) evidence() (sent, received tunnel.WireBytes) {
	if len(t.talks) == 0 && t.frameLog != nil {
		t.frameLog.mu.Lock()
		defer t.frameLog.mu.Unlock()
		return tunnel.WireBytes(t.masked(t.frameLog.sent)), tunnel.WireBytes(t.masked(t.frameLog.received))
	}
	for i := len(t.talks) - 1; i >= 0; i-- {
		if k := t.talks[i]; len(k.got.kept) > 0 || i == 0 {
			return tunnel.WireBytes(t.masked(string(k.sent))), tunnel.WireBytes(t.masked(string(k.got.kept)))
		}
	}
	return nil, nil
}

// offer sends to a channel unless it is full. A proxy that connects to the target a
// second time must not block the target.
func offer[T any](to chan<- T, what T) {
	select {
	case to <- what:
	default:
	}
}

// ascii escapes what is not printable ASCII in words that quote a proxy.
func ascii(words string) string {
	var b strings.Builder
	for i := range len(words) {
		if c := words[i]; c < ' ' || c > '~' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// line returns the first line of a reply, escaped.
func line(reply *wire.Reply) string { return wire.Escape([]byte(reply.Line), 100) }
