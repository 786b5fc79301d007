package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/policy"
)

// decisionError returns a decision as an Error with that target, nil if it allows.
func decisionError(d policy.Decision, target tunnel.Authority) *tunnel.Error {
	if d.Allowed {
		return nil
	}
	return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: d.Type, Target: target, Detail: d.Reason, Rule: d.Rule, Hint: d.Hint}
}

// judgeAddr judges an address that a target leads to. The Server's own listeners are
// never a target; about all others the policy decides.
func (ln *listener) judgeAddr(ap netip.AddrPort) *tunnel.Error {
	if ln.server.isOwnListener(ap) {
		return errorOwnListener()
	}
	return decisionError(ln.rules().JudgeAddr(ap), tunnel.Authority{})
}

// judgeCompleted judges a full name that the search list makes of a target's short one,
// which the policy has allowed. A name that no request could ask for cannot be judged.
func (ln *listener) judgeCompleted(full string, target tunnel.Authority) *tunnel.Error {
	authority, err := tunnel.NewAuthority(full, target.Port())
	if err != nil || authority.Addr().IsValid() {
		return &tunnel.Error{Phase: tunnel.PhaseResolve, Type: tunnel.ErrorDNS, Target: target, FullName: full,
			Detail: "the search list makes no valid name of it"}
	}
	e := decisionError(ln.rules().JudgeCompleted(authority), target)
	if e != nil {
		e.FullName = full
	}
	return e
}

// judgeLiteral judges a target that is an address; a name passes.
func (ln *listener) judgeLiteral(target tunnel.Authority) *tunnel.Error {
	if !target.Addr().IsValid() {
		return nil
	}
	e := ln.judgeAddr(netip.AddrPortFrom(target.Addr(), target.Port()))
	if e != nil {
		e.Target = target
	}
	return e
}

// connect connects to an address that was judged, and judges it once more by the
// connection that came of it: the address may have become one of this host's in
// between.
func (ln *listener) connect(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	conn, err := sock.Connect(ctx, ap)
	if err != nil {
		return nil, err
	}
	if e := ln.judgeConn(conn, ap); e != nil {
		conn.Close()
		return nil, e
	}
	return conn, nil
}

// judgeConn judges a connection to an address that was allowed. It is looked at only
// where loopback is forbidden, or the port is that of a listener of the Server.
func (ln *listener) judgeConn(conn net.Conn, ap netip.AddrPort) *tunnel.Error {
	onWildcard, here := ln.server.listensOnWildcard(ap.Port()), ln.rules().JudgeHere(ap)
	if !onWildcard && here.Allowed || !sock.EndsHere(conn) {
		return nil
	}
	if onWildcard {
		return errorOwnListener()
	}
	return decisionError(here, tunnel.Authority{})
}

func errorOwnListener() *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorDestinationProhibited, Rule: "own listener",
		Detail: "this proxy's own address is not a target"}
}

// isOwnListener reports whether a connection to ap would reach a listener of s.
func (s *Server) isOwnListener(ap netip.AddrPort) bool {
	addr := ap.Addr().Unmap()
	onWildcard := false
	for _, bound := range s.boundTo(ap.Port()) {
		// 0.0.0.0 and :: as targets mean this host's loopback.
		if bound == addr || addr.IsUnspecified() && bound.IsLoopback() {
			return true
		}
		onWildcard = onWildcard || bound.IsUnspecified()
	}
	return onWildcard && (policy.Classify(addr, s.run.own.Contains) == policy.ClassLoopback || sock.LeadsHere(ap))
}

// listensOnWildcard reports whether a listener of s has that port on every address.
func (s *Server) listensOnWildcard(port uint16) bool {
	return slices.ContainsFunc(s.boundTo(port), netip.Addr.IsUnspecified)
}

// boundTo returns the addresses of the listeners of s that have that port.
func (s *Server) boundTo(port uint16) (bound []netip.Addr) {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	add := func(l net.Listener) {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.Port == int(port) {
			bound = append(bound, tcp.AddrPort().Addr().Unmap())
		}
	}
	for ln := range s.run.listeners {
		add(ln)
	}
	for l := range s.run.claimed {
		add(l)
	}
	return bound
}

// policyFor returns the policy with the defaults of a listener. A Server on a
// loopback TCP listener is a personal proxy: its users could reach private and
// loopback addresses without it.
func (s *Server) policyFor(l net.Listener) *policy.Policy {
	rules := []policy.AddrRule{policy.ClassRule(policy.ClassPublic)}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		rules = append(rules, policy.ClassRule(policy.ClassPrivate), policy.ClassRule(policy.ClassLoopback))
	}
	p := s.run.policy.Load()
	if p == nil {
		p = &s.Policy
	}
	p = p.WithDefaultAllowAddr(rules...)
	if p.LeadsHere == nil {
		p.LeadsHere = sock.LeadsHere
	}
	return p
}
