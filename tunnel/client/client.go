// Package client opens tunnels: a [Client] connects to a target along a
// [tunnel.Route], through HTTP/1, HTTP/2 and SOCKS proxies one after the other, with
// TLS and a login at each where that is wanted, and returns the tunnel as a [Conn].
//
// Nothing is lost between a proxy's reply and the target's first bytes, no deadline
// of the opening stays on the open tunnel, and no credentials reach a proxy other
// than their own. What a proxy sends is read within bounds. Failures are
// [tunnel.Error]s; a [Trace] sees each step, and each exchange as it was on the wire.
//
// The package imports no relay, listener, policy or explanation for people: proxies,
// commands and probes open tunnels with the same code.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/dialer"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// The defaults of a Client's timeouts.
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultOpenTimeout    = 30 * time.Second
)

// Client opens tunnels along a Route. The zero Client connects directly. Several
// goroutines may use a Client at once, as long as its fields do not change. A Client
// must not be copied: see Clone.
type Client struct {
	// Route leads to every target; the zero Route is direct.
	Route tunnel.Route

	// Or holds alternative routes, tried in order. The next one is tried if a route
	// cannot be taken: its proxy cannot be reached, or cannot reach the target. A
	// proxy's refusal is final. Each route has the whole Timeout.
	Or []tunnel.Route

	// Header holds further field lines for every proxy's CONNECT. A field with an
	// empty value removes a field that is sent by default. Proxy-Authorization is
	// sent to the first proxy only. If a name is not a token, if a value holds a
	// control character, or if the field is Host or about framing, Open fails before
	// anything is sent.
	Header []Field

	// Auth is the only authentication scheme to use with proxies, one of the Auth
	// constants. "" = the strongest scheme that a proxy offers, then the others.
	// Basic and Bearer are sent without a challenge only if Auth names them. A scheme
	// that opened a tunnel is begun without a challenge for further ones.
	Auth string

	// UserAgent is the User-Agent field's value; "" = none.
	UserAgent string

	// Network is "tcp4" or "tcp6" to use one IP version only; "" = both.
	Network string

	// ConnectTimeout bounds the time to resolve the first hop's name and to connect
	// to it; 0 = DefaultConnectTimeout, negative = no bound.
	ConnectTimeout time.Duration

	// Negotiate returns what makes the tokens of the Negotiate scheme for the proxy
	// on the given host; nil = the scheme is not used. The scheme works without
	// Hop.Credentials. See package kerberos.
	Negotiate func(host string) (Negotiator, error)

	// Timeout bounds the time until the tunnel is open; 0 = DefaultOpenTimeout,
	// negative = no bound. It does not apply to the open tunnel.
	Timeout time.Duration

	// Resolver resolves the first hop's name, or the target's if the route is
	// direct; nil = the system's resolver.
	Resolver dialer.Resolver

	// KeepUnread makes Open read nothing after the last proxy's reply: bytes that the
	// target sent right after it stay in the socket, so that another process can take
	// the socket over. It costs a few more system calls, and has no effect on systems
	// other than Unix.
	KeepUnread bool

	// TLS makes Open speak TLS with the target, inside the tunnel; nil = the Conn
	// carries the target's bytes as they are.
	TLS *tunnel.TLSOptions

	// Trace holds hooks that are called while a tunnel is opened; nil = none.
	Trace *Trace

	// Watch observes connections to proxies more closely than a Trace does; nil =
	// they are not observed.
	Watch *Watch

	once   sync.Once    // guards the lazy creation of shared and memory
	shared *sharedConns // used by this Client and by those that Along returns
	memory *loginMemory // likewise, and by those that Unshared returns
}

// Watch observes what proxies send, byte for byte. Tunnels with different Watches
// share no connection, so each Watch sees all of a connection.
type Watch struct {
	// Read is called after each read of a proxy's answer over HTTP/1, with the bytes
	// and the error that the read returned; nil = it is not called. It must not keep
	// the bytes.
	Read func(b []byte, err error)

	// Tap wraps a connection before HTTP/2 is spoken on it; nil = the connection is
	// used as it is. The Client closes the returned conn.
	Tap func(net.Conn) net.Conn

	// RefusalWait is how long to wait for the proxy to close the connection after a
	// refusal over HTTP/1; 0 = not at all. Exchange.KeptOpen has the result.
	RefusalWait time.Duration
}

// Clone returns a copy of the Client. The copy shares neither connections nor what
// the Client learned about logins.
func (c *Client) Clone() *Client {
	return &Client{
		Route: c.Route, Or: c.Or, Header: c.Header, Auth: c.Auth, UserAgent: c.UserAgent, Network: c.Network,
		ConnectTimeout: c.ConnectTimeout, Negotiate: c.Negotiate, Timeout: c.Timeout, Resolver: c.Resolver,
		KeepUnread: c.KeepUnread, TLS: c.TLS, Trace: c.Trace, Watch: c.Watch,
	}
}

// Unshared returns a copy of the Client that shares no connections with it, but what
// either learned about logins.
func (c *Client) Unshared() *Client {
	copied := c.Clone()
	copied.memory = c.loginMemory()
	return copied
}

// sharing returns a copy of the Client that uses the Client's connections, and what
// it learned about logins.
func (c *Client) sharing() *Client {
	copied := c.Unshared()
	copied.shared = c.sharedConns()
	return copied
}

// DialContext opens a tunnel to address, HOST:PORT, and returns its *Conn. The
// network is "tcp", "tcp4" or "tcp6". The method has the signature that http.Transport
// and golang.org/x/net/proxy want. The context covers the opening only. The caller
// closes the conn; an HTTP/2 connection that the tunnel shares with others stays
// open, see CloseIdleConnections. Errors are *tunnel.Error, except for a network or
// an address that cannot be used.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	narrowed := c.sharing()
	switch network {
	case "tcp":
	case "tcp4", "tcp6":
		narrowed.Network = network
	default:
		return nil, net.UnknownNetworkError(network)
	}
	target, err := tunnel.ParseTarget(address)
	if err != nil {
		return nil, err
	}
	conn, err := narrowed.Open(ctx, target)
	if err != nil {
		return nil, err // not conn, which would be a nil *Conn in an interface
	}
	return conn, nil
}

// Open opens a tunnel to the target. The extra fields are added to every proxy's
// CONNECT, after those of Header; unlike those, they may have any name. The context
// covers the opening only. The caller closes the Conn. Errors are *tunnel.Error.
func (c *Client) Open(ctx context.Context, target tunnel.Authority, extra ...Field) (*Conn, error) {
	conn, e := c.open(ctx, target, extra)
	if e != nil {
		return nil, e
	}
	return conn, nil
}

func (c *Client) open(ctx context.Context, target tunnel.Authority, extra []Field) (*Conn, *tunnel.Error) {
	if len(c.Or) > 0 {
		return c.openAny(ctx, target, extra)
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	if err := c.check(target, extra); err != nil {
		return nil, &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Target: target, Detail: err.Error()}
	}
	o := &opening{client: c, target: target, extra: extra}
	if e := o.open(ctx); e != nil {
		o.close()
		e.Source = c.Route.Source
		return nil, e
	}
	return &Conn{Conn: o.conn, early: o.early, addr: o.addr, target: target, hop: o.last, route: c.Route}, nil
}

// withTimeout bounds ctx by the Client's Timeout.
func (c *Client) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if timeout := cmp.Or(c.Timeout, DefaultOpenTimeout); timeout > 0 {
		return context.WithTimeout(ctx, timeout)
	}
	return context.WithCancel(ctx)
}

// check returns an error for what must not be sent. It is called before anything is
// sent. The names of extra fields are the program's own, so any token
// will do; their values may come from elsewhere.
func (c *Client) check(target tunnel.Authority, extra []Field) error {
	if target.IsZero() {
		return errors.New("there is no target")
	}
	if err := c.Route.Check(); err != nil {
		return err
	}
	for i, h := range c.Route.Hops {
		if !h.IsSOCKS() {
			continue
		}
		if err := checkSOCKS(h, c.Route.HopTarget(i, target)); err != nil {
			return err
		}
	}
	if err := CheckAuth(c.Auth); err != nil {
		return err
	}
	if wire.HasControl(c.UserAgent) {
		return errors.New("the User-Agent holds a control character")
	}
	for _, f := range c.Header {
		if err := checkHeader(f); err != nil {
			return err
		}
	}
	for _, f := range extra {
		if !wire.IsToken(f.Name) || strings.ContainsAny(f.Value, "\r\n\x00") {
			return fmt.Errorf("field %q cannot be sent", f.Name)
		}
	}
	return nil
}

// connectFirst connects to the first hop, or to the target if there is no hop. The
// address is that of the conn, or the last one that was tried.
func (c *Client) connectFirst(ctx context.Context, target tunnel.Authority) (net.Conn, netip.AddrPort, *tunnel.Error) {
	d := dialer.Dialer{Resolver: c.Resolver, Network: c.Network, Timeout: max(0, cmp.Or(c.ConnectTimeout, DefaultConnectTimeout))}
	first := target
	hop := ""
	if !c.Route.Direct() {
		if c.Route.Hops[0].Scheme == tunnel.SchemeUnix {
			conn, e := c.connectUnix(ctx, c.Route.Hops[0], target)
			return conn, netip.AddrPort{}, e
		}
		first, hop = c.Route.Hops[0].Proxy, c.Route.Hops[0].Name()
	}
	if t := c.Trace; t != nil {
		d.Trace = t.dialTrace(first.Host())
	}
	conn, addr, e := d.Dial(ctx, first)
	if e != nil {
		e.Hop, e.Target = hop, target
		return nil, addr, e
	}
	return conn, addr, nil
}

// connectUnix connects to a hop on a Unix socket.
func (c *Client) connectUnix(ctx context.Context, hop tunnel.Hop, target tunnel.Authority) (net.Conn, *tunnel.Error) {
	if timeout := cmp.Or(c.ConnectTimeout, DefaultConnectTimeout); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c.waiting("a connection to %s", hop.Name())
	if t := c.Trace; t != nil && t.Connecting != nil {
		t.Connecting(hop.Name())
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", hop.Path)
	if t := c.Trace; t != nil && t.Connected != nil {
		t.Connected(hop.Name(), neterr.Plain(err))
	}
	if err != nil {
		return nil, &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.DialErrorType(err), Target: target, Hop: hop.Name(), Detail: neterr.Lack(err), Err: neterr.Plain(err)}
	}
	return conn, nil
}

// PasswordInClear reports whether a password is sent over a network unprotected, and
// to which proxy (RFC 7617, section 4). A tunnel over TLS protects a password only as
// far as the proxy at the end of that TLS.
func (c *Client) PasswordInClear() (proxy string, ok bool) {
	for i := range c.Or {
		if proxy, ok := c.Along(i + 1).PasswordInClear(); ok {
			return proxy, ok
		}
	}
	for i, h := range c.Route.Hops {
		sent := h.Credentials != nil && c.Auth != AuthDigest && c.Auth != AuthNTLM && c.Auth != AuthNTLMv1
		for _, f := range c.Header {
			sent = sent || i == 0 && strings.EqualFold(f.Name, "Proxy-Authorization") && f.Value != ""
		}
		safe := h.Scheme == tunnel.SchemeUnix || h.Scheme == tunnel.SchemeHTTPS || h.Scheme == tunnel.SchemeH2 ||
			h.Proxy.Host() == "localhost" || h.Proxy.Addr().IsLoopback()
		if sent && !safe {
			return h.Name(), true
		}
	}
	return "", false
}
