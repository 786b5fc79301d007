package forward

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// Forwarder carries requests that are no CONNECT: in absolute-form in, in
// origin-form out, or in absolute-form on to a parent (RFC 9112, section 3.2).
// The standard library's Transport parses, frames and pools. The addresses it
// may connect to are judged by the Host, once for each connection; what is asked
// for is judged once for each request. Connections to origins are shared among
// the clients of one Forwarder, so all of them must be under one address policy.
type Forwarder struct {
	// IdleTimeout ends exchanges on which both ways are silent; 0 = never,
	// unless somebody owes bytes.
	IdleTimeout time.Duration

	// Linger bounds how long a client that has ended its side may take nothing
	// of its reply; 0 = no bound.
	Linger time.Duration

	// TunnelsOnly asks parents for tunnels to origins, never to forward a
	// request.
	TunnelsOnly bool

	host    Host
	direct  *http.Transport
	via     *viaFields // ours, for messages in both directions
	mu      sync.Mutex
	parents []parentTransport // one for all equal routes; guarded by mu
}

// Host is what a Forwarder needs of the proxy around it. Its methods are called
// from many goroutines at once.
type Host interface {
	// Check applies the stages that every request passes before anything is
	// opened for it: who asks, and whether what it asks for is allowed. It notes
	// in the request's Record who asked and which rule decided. The Record's
	// Target is set.
	Check(*Incoming) *tunnel.Error

	// Routes returns the routes to a target in the order in which they are to be
	// tried: the others where the first cannot be taken.
	Routes(target tunnel.Authority) (first tunnel.Route, others []tunnel.Route)

	// JudgeAddr applies the address policy to a target for which a parent is
	// going to be asked. A name passes: where it leads, the parent judges.
	JudgeAddr(target tunnel.Authority) *tunnel.Error

	// Dial connects to the target along a route, to an address that passes the
	// policy, and DialParent to a route's last hop, through those before it. The
	// caller owns and closes the conn. The context covers connecting only.
	Dial(ctx context.Context, route tunnel.Route, target tunnel.Authority) (net.Conn, *tunnel.Error)
	DialParent(ctx context.Context, route tunnel.Route) (net.Conn, *tunnel.Error)

	// RouteFailed reports that a route could not be taken and the next one is
	// going to be tried.
	RouteFailed(route tunnel.Route, target tunnel.Authority, e *tunnel.Error)

	// DialTunnel opens the way for a request that is to become a tunnel by an
	// upgrade, and notes it in the Record. If there is no error, it has taken one
	// of the tunnels that may be open, and the caller closes the side unless it
	// calls Tunnel.
	DialTunnel(context.Context, *Incoming) (relay.Side, *tunnel.Error)

	// Tunnel makes a tunnel of both sides, logs it, and returns at once. Release
	// is called instead if the upgrade fails.
	Tunnel(in *Incoming, client, next relay.Side)
	Release(*Incoming)

	// Log logs a request that is over.
	Log(*accesslog.Record)

	// Draining reports whether the proxy is about to stop: no connection is kept
	// for a further request.
	Draining() bool
}

// Incoming is a request that is no CONNECT, as it came from a client.
type Incoming struct {
	Head   *wire.Request // over HTTP/2, as it would have come over HTTP/1.1
	HTTP2  bool
	Client netip.Addr // the client's address; invalid on a unix socket
	User   string     // whom the client's certificate has made it, "" = nobody

	// Record is begun by the caller and filled in and logged by the Forwarder.
	Record *accesslog.Record
}

// New returns a Forwarder for the clients of host, which goes by a
// pseudonym in Via (RFC 9110, section 7.6.3). Its fields are set before it is
// used.
func New(host Host, pseudonym string) *Forwarder {
	f := &Forwarder{host: host, via: newViaFields(pseudonym)}
	f.direct = f.newTunnelTransport(tunnel.Route{})
	return f
}

// CloseIdleConnections closes the connections to origins and parents that carry
// no request.
func (f *Forwarder) CloseIdleConnections() {
	f.direct.CloseIdleConnections()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.parents {
		t.CloseIdleConnections()
	}
}
