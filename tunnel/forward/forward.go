// Package forward carries HTTP requests other than CONNECT: a [Forwarder] takes them in
// absolute-form and sends them in origin-form to the origin, or in absolute-form to
// another proxy, a parent (RFC 9112, section 3.2).
//
// What it promises: a request goes nowhere that its [Host] has not allowed; a message
// is framed anew in each direction, and hop-by-hop fields stay behind; content streams
// in both directions; a client never takes a part of a reply for the whole; and every
// request is logged once.
//
// It knows neither the proxy around it, which is a Host, nor the client's protocol
// version, which is a [Wire]. It never imports proxy, or what presents results to
// people: probe, explain, terminal, stdio.
package forward

import (
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// Forwarder forwards requests other than CONNECT. The Host checks each request, and judges
// the address of each connection when it dials. The clients of a Forwarder share its
// connections to origins, so one address policy must apply to all of them.
type Forwarder struct {
	// IdleTimeout ends exchanges that are silent in both directions; 0 = never.
	// An exchange in which a side owes bytes ends after five minutes of silence
	// in any case.
	IdleTimeout time.Duration

	// Linger bounds how long a client that has ended its side may read nothing of
	// its reply; 0 = no bound.
	Linger time.Duration

	// TunnelsOnly asks parents for tunnels to origins, and never to forward a
	// request.
	TunnelsOnly bool

	host    Host
	pool    pool
	via     viaMembers // for messages in both directions
	mu      sync.Mutex
	parents []*parent // equal routes share one; guarded by mu
}

// Host is what a Forwarder needs of the proxy around it. Its methods are called
// from many goroutines at once.
type Host interface {
	// Check applies the checks that every request passes before anything is opened
	// for it: who asks, and whether the target is allowed. It notes the user and
	// the rule that decided in the request's Record, whose Target is set. Unless it
	// returns an error, the request is in flight by its Holds.
	Check(*Incoming) *tunnel.Error

	// LimitError returns the refusal for an error of package quota.
	LimitError(error) *tunnel.Error

	// Routes returns the routes to a target: the others are tried in order if the
	// first cannot be taken.
	Routes(target tunnel.Authority) (first tunnel.Route, others []tunnel.Route)

	// JudgeAddr applies the address policy to a target for which a parent will be
	// asked. A name passes: the parent judges where it leads.
	JudgeAddr(target tunnel.Authority) *tunnel.Error

	// Dial connects to the request's target along a route, to an address that passes
	// the policy. DialParent connects to a route's last hop, through the hops before
	// it. The caller owns and closes the conn, and has counted its descriptor. The
	// context covers connecting only. Until then the client is watched by the
	// request's Watch, and nothing else may read its connection. Dial may return a
	// NamedConn.
	Dial(ctx context.Context, in *Incoming, route tunnel.Route) (net.Conn, *tunnel.Error)
	DialParent(ctx context.Context, in *Incoming, route tunnel.Route) (net.Conn, *tunnel.Error)

	// RouteFailed reports that a route could not be taken, and that the next one
	// will be tried.
	RouteFailed(route tunnel.Route, target tunnel.Authority, e *tunnel.Error)

	// DialTunnel connects to the target for a request that asks for an upgrade, as Dial
	// does, and notes route and address in the Record. From then on the request counts
	// as a tunnel, also if it becomes none.
	DialTunnel(context.Context, *Incoming) (relay.Side, *tunnel.Error)

	// Tunnel relays between both sides, which it closes, logs the tunnel, and returns
	// at once. What the request holds is the tunnel's then.
	Tunnel(in *Incoming, client, next relay.Side)

	// Log logs a request that has ended.
	Log(*accesslog.Record)

	// Draining reports whether the proxy is about to stop, so that no connection is
	// kept for another request.
	Draining() bool
}

// NamedConn is a connection to a target whose name the search list has completed. It is
// for Host.Dial to tell the full name, for the log.
type NamedConn struct {
	net.Conn
	FullName string
}

// Incoming is a request other than CONNECT, as it came from a client.
type Incoming struct {
	Head   *wire.Request // over HTTP/2, as it would have come over HTTP/1.1
	HTTP2  bool          // it came over HTTP/2
	Parts  *Parts        // over HTTP/2, the target; nil = it is Head.Target, in absolute-form
	Client netip.Addr    // the client's address; invalid on a unix socket
	User   string        // by the client's certificate; "" = none

	// Holds is what the request holds. The Forwarder ends it.
	Holds quota.Request

	// Watch is for those methods of Host that may wait: it calls gone, once at most,
	// when the client has gone, until stop is called; nil = the client cannot be watched.
	Watch func(gone func()) (stop func())

	// Record is begun by the caller. The Forwarder completes it and has it logged.
	Record *accesslog.Record
}

// Parts are the parts of a target that came one by one, and so are never put together
// and taken apart again (RFC 9113, section 8.3.1).
type Parts struct {
	Scheme    string
	Authority string
	Path      string // with the query; "*" = the server itself
}

// New returns a Forwarder for the clients of host, which has that pseudonym in Via
// (RFC 9110, section 7.6.3). The caller sets the fields before it uses the Forwarder.
func New(host Host, pseudonym string) *Forwarder {
	return &Forwarder{host: host, via: newViaMembers(pseudonym), pool: pool{limit: idleUpstreams}}
}

// CloseIdleConnections closes the connections to origins and parents that carry no
// request.
func (f *Forwarder) CloseIdleConnections() { f.pool.close() }

// parent is a route through other proxies.
type parent struct {
	route    tunnel.Route
	forwards bool   // its last hop gets the requests themselves
	basic    string // the value of Proxy-Authorization for that hop; "" = none
}

// parentOf returns the parent of a route that is not direct.
func (f *Forwarder) parentOf(route tunnel.Route) *parent {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.parents {
		if p.route.Equal(route) {
			return p
		}
	}
	p := &parent{route: route, forwards: f.parentForwards(route)}
	if c := route.Hops[len(route.Hops)-1].Credentials; c != nil && p.forwards {
		p.basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password))
	}
	f.parents = append(f.parents, p)
	return p
}

// parentForwards reports whether a route's last hop gets the requests themselves. A hop
// that speaks HTTP/2 is asked for tunnels instead, since requests are sent by HTTP/1; a
// SOCKS hop has only tunnels.
func (f *Forwarder) parentForwards(route tunnel.Route) bool {
	if f.TunnelsOnly {
		return false
	}
	switch route.Hops[len(route.Hops)-1].Scheme {
	case tunnel.SchemeHTTP, tunnel.SchemeHTTPS, tunnel.SchemeUnix:
		return true
	}
	return false
}
