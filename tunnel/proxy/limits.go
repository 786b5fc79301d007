package proxy

import (
	"cmp"
	"errors"
	"net"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/listen"
)

// keptPerClient is how many connections to origins are kept that serve one client address
// only, because they carry its login.
const keptPerClient = 64

// clientShare is the part of all descriptors that one client address may hold by default
// where logins are asked for.
const clientShare = 8

// newTable returns the table of who holds what, within what the process may hold.
func (s *Server) newTable() *quota.Table {
	room := roomFor(descriptorLimit(), descriptorsInUse()+s.run.loops.Descriptors())
	s.run.loops.MaxPipes = cmp.Or(room.pipes, -1)
	sock.LimitPipes(cmp.Or(room.pipes, -1))
	limits := quota.Limits{
		Descriptors:       room.connections,
		PerClient:         max(0, s.MaxConnectionsPerClient),
		KeptPerClient:     keptPerClient,
		Tunnels:           max(0, s.MaxTunnels),
		RequestsPerClient: max(0, s.MaxTunnelsPerClient),
		Refusals:          room.refusals,
	}
	if s.MaxTunnels == 0 {
		limits.Tunnels = room.tunnels()
	}
	if s.Verifier != nil && s.MaxConnectionsPerClient == 0 {
		limits.PerClient = room.share()
	}
	return quota.New(limits)
}

// limitStrangers sets the default limit of a client's connections if clients of l log in
// by certificates.
func (s *Server) limitStrangers(l net.Listener) {
	limits := s.run.table.Limits()
	if s.MaxConnectionsPerClient == 0 && limits.PerClient == 0 && listen.VerifiesClients(l) {
		s.run.table.LimitClients(room{connections: limits.Descriptors}.share())
	}
}

// room says for what the descriptors of a process are.
type room struct {
	connections int // all that the table counts; 0 = any number
	refusals    int // connections that are accepted only to be refused
	pipes       int // of a pool; there are two
}

// reserved is what a process needs for its logs and other files, as far as there is room.
const reserved = 16

// roomFor divides descriptors, of which inUse are taken or will be. 0 = there is no limit.
func roomFor(limit, inUse int) room {
	const unbounded = 1 << 20
	if limit == 0 {
		return room{refusals: unbounded, pipes: sock.MaxPipes}
	}
	free := max(0, limit-inUse)
	r := room{refusals: min(max(1, free/32), 256), pipes: min(free/64, sock.MaxPipes)}
	const pools, ends = 2, 2
	r.connections = free - r.refusals - pools*ends*r.pipes - min(reserved+free/100, max(1, free/4))
	r.connections = max(r.connections, 2) // with fewer than one tunnel's there is no proxy
	return r
}

// tunnels returns how many tunnels there is room for, of two connections each.
func (r room) tunnels() int {
	if r.connections == 0 {
		return defaultMaxTunnels
	}
	return max(1, r.connections/2)
}

// share returns how many descriptors a client address may hold by default where logins
// are asked for: at least those of two tunnels.
func (r room) share() int {
	if r.connections == 0 {
		return 0
	}
	return max(4, r.connections/clientShare)
}

// defaultMaxTunnels is a bound for memory's sake, where descriptors have none.
const defaultMaxTunnels = 1 << 20

// shortBy is how many idle connections are dropped where descriptors run short although
// the table has some left: something else in the process holds them.
const shortBy = 8

// admit gives a client's connection its place in the table, or returns why it has none.
func (c *clientConn) admit() *tunnel.Error {
	s := c.server
	if !c.local && !s.allowsClient(c.addr) {
		return clientDenied()
	}
	if s.isShortOfDescriptors(c.socket) && s.run.table.Drop(shortBy) == 0 {
		return limitError(quota.ErrDescriptors, tunnel.Authority{})
	}
	if err := s.run.table.Admit(&c.slot, c.addr, c); err != nil {
		return limitError(err, tunnel.Authority{})
	}
	return nil
}

// isShortOfDescriptors reports whether a client on conn can be answered but not
// served. The kernel assigns the lowest free descriptor, so conn's own is about the
// number of those in use.
func (s *Server) isShortOfDescriptors(conn net.Conn) bool {
	numbered, ok := conn.(sock.Numbered)
	return ok && s.run.maxDescriptors > 0 && numbered.Descriptor() >= s.run.maxDescriptors
}

// isOutOfDescriptors reports whether Accept failed for want of descriptors.
func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Drop implements quota.Holder. A client is told why, if it may be and HTTP/1 can be spoken:
// the goroutine that reads from it does that. Between two requests, of which the second has not
// arrived, the connection is closed without a word, as after KeepAliveTimeout.
func (c *clientConn) Drop(mayAnswer bool) {
	c.mu.Lock()
	c.dropped = true
	if mayAnswer && (c.secure == nil || c.secured) && c.streams == nil {
		c.conn.SetReadDeadline(sock.Past)
	} else {
		c.socket.Close() // TLS might wait to write its close_notify
	}
	c.mu.Unlock()
	c.server.warnOfDropping()
}

// isDropped reports whether Drop was called.
func (c *clientConn) isDropped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// setReadDeadline sets a deadline for the client's next bytes, unless the connection was
// dropped: then they are not waited for.
func (c *clientConn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dropped {
		c.conn.SetReadDeadline(t)
	}
}

// warnEvery is how often the operator is told of a shortage that goes on.
const warnEvery = time.Minute

// warnOfDropping tells the operator that connections are dropped to make room.
func (s *Server) warnOfDropping() {
	now := time.Now().UnixNano()
	last := s.run.warned.Load()
	if last != 0 && now-last < int64(warnEvery) || !s.run.warned.CompareAndSwap(last, now) {
		return
	}
	t := s.run.table
	limits := t.Limits()
	s.warn("connections run short, idle ones are dropped", "most", limits.Descriptors, "most_per_client", limits.PerClient,
		"clients", t.Held(quota.Client), "targets", t.Held(quota.Target)+t.Held(quota.Dial), "kept", t.Held(quota.Kept), "lookups", t.Held(quota.Lookup))
}

// errorIfDropped returns the Error for a connection that was dropped to make room, nil if
// it was not.
func (c *clientConn) errorIfDropped() *tunnel.Error {
	if !c.isDropped() {
		return nil
	}
	return limitError(quota.ErrDropped, tunnel.Authority{})
}

// limitError returns the Error for a limit of the table.
func limitError(err error, target tunnel.Authority) *tunnel.Error {
	e := &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorConnectionLimit, Target: target, Err: err}
	switch {
	case errors.Is(err, quota.ErrTunnels):
		e.Rule = "max-tunnels"
	case errors.Is(err, quota.ErrRequests):
		e.Rule, e.Detail = "max-tunnels-per-client", "too many tunnels and requests of this client are in flight"
	case errors.Is(err, quota.ErrPerClient):
		e.Rule, e.Detail = "max-connections-per-client", "this client has as many connections as it may have"
	case errors.Is(err, quota.ErrDropped):
		e.Rule, e.Detail = "descriptors", "the connection was dropped, as this proxy has as many as it can carry"
	default:
		e.Rule, e.Detail = "descriptors", "this proxy has as many connections as it can carry"
	}
	return e
}

// openTunnel counts a request as a tunnel that is being opened, with a descriptor for the
// connection to its target.
func (s *Server) openTunnel(r *quota.Request, target tunnel.Authority) *tunnel.Error {
	if s.run.draining.Load() {
		return errorDraining(target)
	}
	if err := r.Open(); err != nil {
		return limitError(err, target)
	}
	return nil
}

// errorDraining returns the refusal of a request that comes while the Server drains.
func errorDraining(target tunnel.Authority) *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorInternalResponse, Target: target, Rule: "draining"}
}

var _ quota.Holder = (*clientConn)(nil)
