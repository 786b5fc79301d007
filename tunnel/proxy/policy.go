package proxy

import (
	"net"
	"net/netip"

	"culvert/tunnel"
	"culvert/tunnel/policy"
)

// decisionError returns a decision as an Error with that target, nil if it allows.
func decisionError(d policy.Decision, target tunnel.Authority) *tunnel.Error {
	if d.Allowed {
		return nil
	}
	return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: d.Type, Target: target, Detail: d.Reason, Rule: d.Rule}
}

// judgeAddr judges an address that a target leads to. The Server's own listeners are
// never a target; about all others the policy decides.
func (ln *listener) judgeAddr(ap netip.AddrPort) *tunnel.Error {
	if ln.server.isOwnListener(ap) {
		return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorDestinationProhibited, Rule: "own listener",
			Detail: "this proxy's own address is not a target"}
	}
	return decisionError(ln.policy.JudgeAddr(ap), tunnel.Authority{})
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

// isOwnListener reports whether a connection to ap would reach a listener of s.
func (s *Server) isOwnListener(ap netip.AddrPort) bool {
	addr := ap.Addr().Unmap()
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	for ln := range s.run.listeners {
		tcp, ok := ln.Addr().(*net.TCPAddr)
		if !ok || tcp.Port != int(ap.Port()) {
			continue
		}
		bound := tcp.AddrPort().Addr().Unmap()
		if bound == addr || bound.IsUnspecified() && policy.Classify(addr, s.run.own.Contains) == policy.ClassLoopback {
			return true
		}
		// 0.0.0.0 and :: as targets mean this host's loopback.
		if addr.IsUnspecified() && bound.IsLoopback() {
			return true
		}
	}
	return false
}

// policyFor returns the policy with the defaults of a listener. A Server on a
// loopback TCP listener is a personal proxy: its users could reach private and
// loopback addresses without it.
func (s *Server) policyFor(l net.Listener) *policy.Policy {
	rules := []policy.AddrRule{policy.ClassRule(policy.ClassPublic)}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		rules = append(rules, policy.ClassRule(policy.ClassPrivate), policy.ClassRule(policy.ClassLoopback))
	}
	return s.Policy.WithDefaultAllowAddr(rules...)
}
