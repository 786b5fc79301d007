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

// Defaults of Client's durations.
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultOpenTimeout    = 30 * time.Second
)

// Client opens tunnels along a Route. The zero Client connects directly. A
// Client may be used by several goroutines at once if its fields are not
// changed meanwhile. It is not to be copied: see Clone.
type Client struct {
	// Route is the way to every target; the zero Route is direct.
	Route tunnel.Route

	// Or are whole further ways, tried in order where the one before cannot be
	// taken: its proxy is not to be had, or cannot reach the target. What a proxy
	// refuses is not tried elsewhere. Timeout is for each.
	Or []tunnel.Route

	// Header holds further field lines for every proxy's CONNECT; one with an
	// empty value removes a field that is sent by default. Proxy-Authorization
	// among them goes to the first proxy only. What checkHeader refuses makes
	// Open fail before anything is sent.
	Header []Field

	// Auth is the one scheme by which credentials are shown to proxies, an Auth
	// constant. "" = the strongest that a proxy offers, then the others: Basic,
	// and Bearer, go along unasked only where there is no other to choose.
	Auth string

	// UserAgent is the User-Agent field's value; "" = none.
	UserAgent string

	// Network is "tcp4" or "tcp6" to use one IP version only; "" = both.
	Network string

	// ConnectTimeout bounds resolving and connecting to the first hop; 0 =
	// DefaultConnectTimeout, negative = none.
	ConnectTimeout time.Duration

	// Negotiate makes the tokens of the Negotiate scheme for a proxy of the given
	// host; nil = the scheme is not tried. It needs no Hop.Credentials. See package
	// kerberos.
	Negotiate func(host string) (Negotiator, error)

	// Timeout bounds everything until the tunnel is open; 0 =
	// DefaultOpenTimeout, negative = none. None applies to the open tunnel.
	Timeout time.Duration

	// Resolver resolves the first hop's name, or the target's if the route is
	// direct; nil = the system's.
	Resolver dialer.Resolver

	// KeepUnread makes Open read nothing behind the last proxy's reply: what
	// the target sent with it stays in the socket, for HandOver. It costs
	// a few system calls more, and does nothing on systems other than unix.
	KeepUnread bool

	// TLS speaks TLS with the target, inside the tunnel; nil = the tunnel
	// carries what the user of the Conn says.
	TLS *tunnel.TLSOptions

	// Trace watches the way; nil = nobody does.
	Trace *Trace

	// Watch sees the bytes that a Trace does not, and how proxies leave
	// connections; nil = nobody does.
	Watch *Watch

	once   sync.Once    // makes shared, unless it was there already
	shared *sharedConns // of this Client and those made by Along
}

// Watch sees what proxies send, byte for byte. Tunnels of different Watches share
// no connection, so that each of them sees the whole of one.
type Watch struct {
	// Read is called with what each read of a proxy's answers over HTTP/1 brought,
	// and its error; nil = it is not. It must not keep the bytes.
	Read func(b []byte, err error)

	// Tap wraps a connection before HTTP/2 is spoken on it; nil = it stays as it
	// is. The Client closes what it returns.
	Tap func(net.Conn) net.Conn

	// RefusalWait is how long to wait after a refusal over HTTP/1 for the proxy to
	// close the connection, for Exchange.KeptOpen; 0 = not at all.
	RefusalWait time.Duration
}

// Clone returns a copy of the Client that shares nothing with it: neither
// connections nor what was learned of a proxy's login.
func (c *Client) Clone() *Client {
	return &Client{
		Route: c.Route, Or: c.Or, Header: c.Header, Auth: c.Auth, UserAgent: c.UserAgent, Network: c.Network,
		ConnectTimeout: c.ConnectTimeout, Negotiate: c.Negotiate, Timeout: c.Timeout, Resolver: c.Resolver,
		KeepUnread: c.KeepUnread, TLS: c.TLS, Trace: c.Trace, Watch: c.Watch,
	}
}

// sharing returns a copy of the Client that uses its connections, and what it
// learned of logins.
func (c *Client) sharing() *Client {
	copied := c.Clone()
	copied.shared = c.sharedConns()
	return copied
}

// DialContext opens a tunnel to address, HOST:PORT. It fits http.Transport and
// golang.org/x/net/proxy. The context covers the opening only. The caller
// closes the conn; a connection of HTTP/2 that it shares with other tunnels
// stays, see CloseIdleConnections. Errors are *Error, save for a bad network or
// address.
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
		return nil, err // and not a nil *Conn in an interface
	}
	return conn, nil
}

// Open opens a tunnel to the target. Extra fields go along with every proxy's
// CONNECT, after those of Header; unlike those they may have any name. The context
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

// check refuses what must not reach the wire, before anything is sent (RULES
// 10). Extra fields are culvert's own, so they may be any; their values may
// come from elsewhere.
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

// connectFirst connects to the first hop, or to the target if there is none.
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
		return nil, &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.DialErrorType(err), Target: target, Hop: hop.Name(), Err: neterr.Plain(err)}
	}
	return conn, nil
}

// PasswordInClear reports whether a password goes over a network unprotected, and to
// whom (RFC 7617, section 4). What goes through a tunnel in TLS to a hop is
// protected up to there only.
func (c *Client) PasswordInClear() (proxy string, ok bool) {
	for i := range c.Or {
		if proxy, ok := c.Along(i + 1).PasswordInClear(); ok {
			return proxy, ok
		}
	}
	for i, h := range c.Route.Hops {
		sent := h.Credentials != nil && c.Auth != AuthDigest && c.Auth != AuthNTLM
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
