package client

import (
	"fmt"
	"net/netip"

	"culvert/tunnel"
	"culvert/tunnel/dialer"
	"culvert/tunnel/internal/neterr"
)

// Trace watches a Client open a tunnel. Unset hooks are skipped. Waiting,
// Connecting and Connected may be called from several goroutines at once.
type Trace struct {
	// Waiting tells, as a wait begins, what for: the words go behind "waiting
	// for", name the other side, and may hold text that is not fit for a terminal.
	Waiting func(what string)

	Resolved       func(host string, addrs []netip.Addr, err error)
	Connecting     func(addr string)
	Connected      func(addr string, err error)
	Secured        func(*TLSHandshake) // after each TLS handshake, whatever its outcome
	Exchanged      func(*Exchange)     // after each CONNECT exchange, whatever its outcome
	SOCKSExchanged func(*SOCKSMessage) // after each message to a SOCKS proxy, whatever its outcome

	// Abandoned tells that a route could not be taken, an *Error why, and which
	// one of Client.Or is tried next.
	Abandoned func(route tunnel.Route, why error, next tunnel.Route)

	// Framed tells of each frame of HTTP/2 but DATA. It is called while the
	// connection waits: it must neither block nor use the Client.
	Framed func(Frame)
}

// Traces returns a Trace that calls a's hooks and then b's. Either may be nil.
func Traces(a, b *Trace) *Trace {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return &Trace{
		Waiting:        both(a.Waiting, b.Waiting),
		Resolved:       bothOfThree(a.Resolved, b.Resolved),
		Connecting:     both(a.Connecting, b.Connecting),
		Connected:      bothOfTwo(a.Connected, b.Connected),
		Secured:        both(a.Secured, b.Secured),
		Exchanged:      both(a.Exchanged, b.Exchanged),
		SOCKSExchanged: both(a.SOCKSExchanged, b.SOCKSExchanged),
		Abandoned:      bothOfThree(a.Abandoned, b.Abandoned),
		Framed:         both(a.Framed, b.Framed),
	}
}

// both returns a hook that calls both; nil if neither is set.
func both[T any](a, b func(T)) func(T) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(t T) { a(t); b(t) }
}

// bothOfTwo is both for hooks with two arguments.
func bothOfTwo[T, U any](a, b func(T, U)) func(T, U) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(t T, u U) { a(t, u); b(t, u) }
}

// bothOfThree is both for hooks with three arguments.
func bothOfThree[T, U, V any](a, b func(T, U, V)) func(T, U, V) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(t T, u U, v V) { a(t, u, v); b(t, u, v) }
}

// Trace adapts the hooks to the dialer's.
func (t *Trace) dialTrace(host string) *dialer.Trace {
	d := &dialer.Trace{}
	if t.Waiting != nil {
		d.Resolving = func() { t.Waiting("the address of " + host) }
	}
	if t.Resolved != nil {
		d.Resolved = func(addrs []netip.Addr, err error) { t.Resolved(host, addrs, err) }
	}
	d.Attempt = func(ap netip.AddrPort) {
		if t.Waiting != nil {
			t.Waiting("a connection to " + ap.String())
		}
		if t.Connecting != nil {
			t.Connecting(ap.String())
		}
	}
	if t.Connected != nil {
		d.Attempted = func(ap netip.AddrPort, err error) { t.Connected(ap.String(), neterr.Plain(err)) }
	}
	return d
}

// waiting tells what is waited for from now on.
func (c *Client) waiting(format string, args ...any) {
	if t := c.Trace; t != nil && t.Waiting != nil {
		t.Waiting(fmt.Sprintf(format, args...))
	}
}
