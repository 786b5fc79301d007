package client

import (
	"fmt"
	"net/netip"

	"culvert/tunnel"
	"culvert/tunnel/dialer"
	"culvert/tunnel/internal/neterr"
)

// Trace is a set of hooks that a Client calls while it opens a tunnel. Hooks may be nil.
// Waiting, Connecting and Connected may be called from several goroutines at once.
type Trace struct {
	// Waiting is called when a wait begins. The words continue "waiting for", and name
	// the other side. They are not escaped for a terminal.
	Waiting func(what string)

	// Resolved is called after a name was resolved, Connecting before each connection
	// attempt and Connected after it. An addr is host:port, or the name of a hop on a
	// Unix socket.
	Resolved   func(host string, addrs []netip.Addr, err error)
	Connecting func(addr string)
	Connected  func(addr string, err error)

	// These are called after each step, successful or not. Their argument is the
	// hook's to keep.
	Secured        func(*TLSHandshake) // after each TLS handshake
	Exchanged      func(*Exchange)     // after each CONNECT exchange
	SOCKSExchanged func(*SOCKSMessage) // after each message to a SOCKS proxy and its answer

	// Abandoned is called if a route cannot be taken. why is a *tunnel.Error, and next
	// is the route of Client.Or that is tried now.
	Abandoned func(route tunnel.Route, why error, next tunnel.Route)

	// LoginChanged is called if a login at a proxy goes on by another scheme than
	// before, or over another connection.
	LoginChanged func(LoginChange)

	// Framed is called for each HTTP/2 frame other than DATA, sent or received. The
	// connection waits meanwhile, so the hook must neither block nor use the Client.
	Framed func(Frame)
}

// Traces returns a Trace whose hooks call a's and then b's. Either may be nil.
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
		LoginChanged:   both(a.LoginChanged, b.LoginChanged),
		Framed:         both(a.Framed, b.Framed),
	}
}

// both returns a hook that calls a and then b; nil if neither is set.
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

// dialTrace returns a Trace of the dialer that calls t's hooks.
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

// waiting calls Trace.Waiting.
func (c *Client) waiting(format string, args ...any) {
	if t := c.Trace; t != nil && t.Waiting != nil {
		t.Waiting(fmt.Sprintf(format, args...))
	}
}
