package proxy

import (
	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/wire"
	"net/netip"
	"strings"
)

// requestInfo is the part of a request that check needs, CONNECT or not.
type requestInfo struct {
	target      tunnel.Authority
	client      netip.Addr
	holds       *quota.Request // what the request holds
	user        string         // by the client's certificate; "" = none
	credentials []string       // Proxy-Authorization values
	via         []string       // Via values
	weight      int            // the memory in bytes that the request holds while it waits
	watch       watcher        // of the client; nil = it cannot be watched
}

// check applies the stages that every request passes before anything is opened for
// it: verify, loop, policy. It notes in rec the user and the rule that decided.
// Verify comes first, so that a client without credentials learns neither the
// pseudonym nor the policy.
func (ln *listener) check(a requestInfo, rec *accesslog.Record) *tunnel.Error {
	user, e := ln.verify(a)
	rec.User = user
	if e != nil {
		return e
	}
	if ln.server.isLoop(a.via) {
		return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorLoop, Target: a.target}
	}
	decision := ln.rules().JudgeTarget(a.target)
	rec.Rule = decision.Rule
	return decisionError(decision, a.target)
}

// isLoop reports whether a request's Via values have this Server's pseudonym: it has
// been here before (RFC 9110, section 7.6.3).
func (s *Server) isLoop(via []string) bool {
	for _, member := range wire.Tokens(via) {
		// received-protocol RWS received-by [ RWS comment ]
		if parts := strings.Fields(member); len(parts) > 1 && strings.EqualFold(parts[1], s.Pseudonym()) {
			return true
		}
	}
	return false
}

// weightOf returns the memory in bytes that a head holds, about.
func weightOf(head *wire.Request) int { return 2*len(head.Raw) + 64*len(head.Fields) }
