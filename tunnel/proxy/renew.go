package proxy

import "culvert/tunnel/policy"

// SetPolicy makes p the policy of the requests to come, in place of Policy. It may be
// called while the Server runs. Open tunnels and requests that were judged already go on;
// connections to origins that carry no request are closed, as p may forbid their
// addresses.
func (s *Server) SetPolicy(p *policy.Policy) {
	s.init()
	s.run.policy.Store(p)
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	for ln := range s.run.listeners {
		if ln.forward != nil {
			ln.forward.CloseIdleConnections()
		}
	}
}

// renewedPolicy is a policy of SetPolicy with the defaults of a listener.
type renewedPolicy struct {
	of     *policy.Policy // as SetPolicy got it
	policy *policy.Policy
}

// rules returns the policy of the listener as it is now.
func (ln *listener) rules() *policy.Policy {
	now := ln.server.run.policy.Load()
	if now == nil {
		return ln.policy
	}
	if renewed := ln.renewed.Load(); renewed != nil && renewed.of == now {
		return renewed.policy
	}
	renewed := &renewedPolicy{now, ln.server.policyFor(ln.Listener)}
	ln.renewed.Store(renewed)
	return renewed.policy
}
