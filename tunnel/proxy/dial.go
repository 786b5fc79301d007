package proxy

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/client"
	"culvert/tunnel/dialer"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/resolve"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/relay"
)

// dial is the stage of the spine that connects to a target: as the first Via rule
// says that matches, or directly. Via holds the request's Via values, which a parent
// gets too.
func (ln *listener) dial(ctx context.Context, target tunnel.Authority, holds *quota.Request, via []string, rec *accesslog.Record) (relay.Side, *tunnel.Error) {
	start := time.Now()
	side, e := ln.dialByRule(ctx, ln.server.rule(target), target, holds, via, rec)
	rec.Connect = time.Since(start)
	if e != nil {
		return side, errorOfDial(ctx, e)
	}
	holds.Connected(!sock.OwnsDescriptor(side.Conn))
	return side, nil
}

// errorOfDial returns the Error for a failure to connect within ctx. If that has ended it
// is not the target's fault.
func errorOfDial(ctx context.Context, e *tunnel.Error) *tunnel.Error {
	switch {
	case ctx.Err() == nil:
		return e
	case context.Cause(ctx) == errClientGone:
		gone := clientGone(e.Phase)
		gone.Target = e.Target
		return gone
	}
	return &tunnel.Error{Phase: e.Phase, Type: tunnel.ErrorInternalResponse, Target: e.Target, Rule: "draining", Err: e} // the Server is being closed
}

// direct is the rule for targets that match no other.
var direct ViaRule

// rule returns the first Via rule that matches the target, or direct.
func (s *Server) rule(target tunnel.Authority) *ViaRule {
	for i := range s.Via {
		if r := &s.Via[i]; r.Pattern == nil || r.Pattern.Match(target) {
			return r
		}
	}
	return &direct
}

// dialByRule connects to a target by the first of the rule's routes that can be
// taken. Each has ConnectTimeout.
func (ln *listener) dialByRule(ctx context.Context, rule *ViaRule, target tunnel.Authority, holds *quota.Request, via []string, rec *accesslog.Record) (relay.Side, *tunnel.Error) {
	for i := -1; ; i++ {
		route := rule.Route
		if i >= 0 {
			route = rule.Or[i]
		}
		var side relay.Side
		var e *tunnel.Error
		if route.Direct() {
			rec.Via = ""
			var addr netip.AddrPort
			if side.Conn, addr, rec.FullName, e = ln.dialDirect(ctx, target, holds); addr.IsValid() {
				rec.Addr = addr.String()
			}
		} else {
			side, e = ln.dialVia(ctx, route, target, holds, via, rec)
		}
		if e == nil || i+1 == len(rule.Or) || !e.OtherRouteMayWork() || ctx.Err() != nil {
			return side, e
		}
		ln.server.routeFailed(route, target, e)
	}
}

// routeFailed logs for the operator that a route could not be taken.
func (s *Server) routeFailed(route tunnel.Route, target tunnel.Authority, e *tunnel.Error) {
	s.warn("a route cannot be taken, trying the next", "route", route, "target", target, "error", e.Detail)
}

// dialDirect connects to one of the target's addresses that pass the policy. It
// returns that address, or after a failure the last one tried, if any, and the full name
// that the search list made of the target's, if it did.
func (ln *listener) dialDirect(ctx context.Context, target tunnel.Authority, holds *quota.Request) (conn net.Conn, addr netip.AddrPort, full string, e *tunnel.Error) {
	d := dialer.Dialer{Resolver: ln.server.Resolver, Timeout: ln.server.connectTimeout(), Judge: ln.judgeAddr, Connect: ln.connect}
	if !target.Addr().IsValid() {
		d.Resolver = ln.server.resolver(holds)
		d.Connect = (&attempts{ln: ln, account: holds.Account()}).connect
	}
	ln.completeNames(&d, target, &full)
	if conn, addr, e = d.Dial(ctx, target); e != nil {
		e.FullName = cmp.Or(e.FullName, full)
	}
	return conn, addr, full, e
}

// completeNames makes d judge each name that the search list makes of the target's, and
// note in full the one that was found. Only a name without a dot is completed.
func (ln *listener) completeNames(d *dialer.Dialer, target tunnel.Authority, full *string) {
	if strings.Contains(target.Host(), ".") || target.Addr().IsValid() {
		return
	}
	d.JudgeName = func(name string) *tunnel.Error { return ln.judgeCompleted(name, target) }
	d.Trace = &dialer.Trace{Completed: func(name string) { *full = name }}
}

// resolver returns what resolves targets for a request, whose client the descriptors of
// look-ups are charged to; nil = what resolves parents.
func (s *Server) resolver(holds *quota.Request) dialer.Resolver {
	switch {
	case s.Resolver != nil:
		return s.Resolver
	case holds == nil || holds.Account() == nil:
		return &s.run.names
	}
	return &resolve.Resolver{Hold: holdLookups(holds.Account())}
}

// holdLookups returns what counts the descriptors of look-ups for an account.
func holdLookups(a *quota.Account) func() (release func(), err error) {
	return func() (func(), error) {
		if err := a.Hold(quota.Lookup); err != nil {
			return nil, limitError(err, tunnel.Authority{})
		}
		return func() { a.Give(quota.Lookup) }, nil
	}
}

// attempts is the attempts to connect to the addresses of one target. The request holds
// one descriptor for them already: each further one that is open at the same time is
// counted as well.
type attempts struct {
	ln      *listener
	account *quota.Account // of the client; nil = it is not counted

	mu   sync.Mutex
	open int // attempts under way, and the connection that was made
	won  bool
}

// connect is listener.connect for one of several addresses.
func (a *attempts) connect(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	if err := a.begin(); err != nil {
		return nil, err
	}
	conn, err := a.ln.connect(ctx, ap)
	if a.end(err == nil) {
		return conn, nil
	}
	if err == nil { // another was faster
		conn.Close()
		err = context.Canceled
	}
	return nil, err
}

func (a *attempts) begin() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open > 0 && a.account != nil {
		if err := a.account.Hold(quota.Dial); err != nil {
			return limitError(err, tunnel.Authority{})
		}
	}
	a.open++
	return nil
}

// end counts an attempt that has ended, and reports whether its connection is the one.
func (a *attempts) end(connected bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if connected && !a.won {
		a.won = true
		return true
	}
	if a.open > 1 && a.account != nil {
		a.account.Give(quota.Dial)
	}
	a.open--
	return false
}

func (s *Server) connectTimeout() time.Duration {
	return max(0, cmp.Or(s.ConnectTimeout, client.DefaultConnectTimeout))
}

// dialVia opens a tunnel through parents. It adds the pseudonym to Via, so that a
// loop is detected (RFC 9110, section 7.6.3).
func (ln *listener) dialVia(ctx context.Context, route tunnel.Route, target tunnel.Authority, holds *quota.Request, via []string, rec *accesslog.Record) (relay.Side, *tunnel.Error) {
	rec.Via = route.String()
	received := strings.TrimPrefix(rec.Protocol, "http/")
	fields := []client.Field{{Name: "Via", Value: strings.Join(append(via, received+" "+ln.server.Pseudonym()), ", ")}}
	conn, full, e := ln.openVia(ctx, route, target, holds, fields)
	if e != nil {
		return relay.Side{}, e
	}
	rec.FullName = full
	if hop := conn.NextHop(); hop.IsValid() {
		rec.Addr = hop.String()
	}
	return relay.Side{Conn: conn.NetConn(), Early: conn.TakeEarly()}, nil
}

// openVia asks a route's last parent for a tunnel to the target, which has passed the
// policy by name. A literal address is judged here. A name goes to the parent
// unresolved, unless ViaResolve is set: then the parent is asked for the addresses
// that it has here, and full is the name that the search list made of the target's, if
// it did.
func (ln *listener) openVia(ctx context.Context, route tunnel.Route, target tunnel.Authority, holds *quota.Request, fields []client.Field) (conn *client.Conn, full string, e *tunnel.Error) {
	c := ln.server.parentClient(route)
	if !ln.server.ViaResolve || target.Addr().IsValid() {
		if e := ln.judgeLiteral(target); e != nil {
			return nil, "", e
		}
		conn, err := c.Open(ctx, target, fields...)
		if err != nil {
			return nil, "", parentFailure(tunnel.AsError(err, tunnel.PhaseConnect))
		}
		return conn, "", nil
	}
	literals, full, e := ln.resolved(ctx, target, holds)
	if e != nil {
		return nil, full, e
	}
	for i := 0; ; i++ {
		conn, err := c.Open(ctx, literals[i], fields...)
		if err == nil {
			return conn, full, nil
		}
		// Unless the parent could not reach this address, another does not help.
		e := tunnel.AsError(err, tunnel.PhaseConnect)
		if i+1 == len(literals) || !e.OtherRouteMayWork() || e.Phase != tunnel.PhaseReply || ctx.Err() != nil {
			e.Target, e.FullName = target, full
			return nil, full, parentFailure(e)
		}
	}
}

// maxViaAddresses is how many of a name's addresses a parent is asked for at most.
const maxViaAddresses = 4

// resolved returns those of the target's addresses that pass the policy, and the full
// name that the search list made of the target's, if it did.
func (ln *listener) resolved(ctx context.Context, target tunnel.Authority, holds *quota.Request) (literals []tunnel.Authority, full string, e *tunnel.Error) {
	d := dialer.Dialer{Resolver: ln.server.resolver(holds), Judge: ln.judgeAddr}
	ln.completeNames(&d, target, &full)
	if timeout := ln.server.connectTimeout(); timeout > 0 {
		late := dialer.WithLazyTimeout(ctx, timeout)
		defer late.Release()
		ctx = late
	}
	addrs, e := d.Resolve(ctx, target)
	if e == nil {
		addrs, e = d.Filter(addrs, target)
	}
	if e != nil {
		e.FullName = cmp.Or(e.FullName, full)
		return nil, full, e
	}
	for _, addr := range dialer.Interleave(addrs)[:min(len(addrs), maxViaAddresses)] {
		literal, err := tunnel.NewAuthority(addr.String(), target.Port())
		if err != nil { // as for an address with a zone
			return nil, full, &tunnel.Error{Phase: tunnel.PhaseResolve, Type: tunnel.ErrorDestinationUnroutable, Target: target, FullName: full, Detail: err.Error()}
		}
		literals = append(literals, literal)
	}
	return literals, full, nil
}

// parentFailure returns what the client is told about the failure of a parent: the
// kind of failure, but not the parent's name. That the parent requires credentials
// is a matter between it and this proxy, so the client gets no 407.
func parentFailure(e *tunnel.Error) *tunnel.Error {
	out := *e
	switch {
	case e.Phase == tunnel.PhaseConnect && e.Type == tunnel.ErrorConnectionLimit: // what this proxy lacks
	case e.Phase != tunnel.PhaseReply:
		out.Detail = "the next proxy: " + e.Type.Words()
	case e.Type == tunnel.ErrorCredentials && e.Login != nil && e.Login.Sent:
		out.Type, out.Detail = tunnel.ErrorProtocol, "the next proxy refused this proxy's credentials"
	case e.Type == tunnel.ErrorCredentials:
		out.Type, out.Detail = tunnel.ErrorProtocol, "the next proxy wants credentials that this proxy does not have"
	case e.Type == tunnel.ErrorRequest:
		out.Type, out.Detail = tunnel.ErrorProtocol, "the next proxy did not understand the request"
	default:
		out.Detail = "the next proxy: " + e.Type.Words()
	}
	return &out
}
