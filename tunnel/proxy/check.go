package proxy

import (
	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/wire"
	"net/netip"
	"strings"
)

// asked is what the first stages judge of a request: CONNECT or not, whichever
// protocol version it came in.
type requestInfo struct {
	target      tunnel.Authority
	client      netip.Addr
	user        string   // whom the client's certificate has made it, "" = nobody
	credentials []string // Proxy-Authorization values
	via         []string // Via values
}

// judge applies the stages that every request passes before anything is opened
// for it, and notes in rec who asked and which rule decided. Verify comes first,
// so that a stranger learns neither our pseudonym nor the policy.
func (ln *listener) check(a requestInfo, rec *accesslog.Record) *tunnel.Error {
	user, e := ln.verify(a)
	if e != nil {
		return e
	}
	rec.User = user
	if ln.server.isLoop(a.via) {
		return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorLoop, Target: a.target}
	}
	decision := ln.policy.JudgeTarget(a.target)
	rec.Rule = decision.Rule
	return decisionError(decision, a.target)
}

// isLoop reports whether our own pseudonym is among a request's Via values, so
// that it has been here before (RFC 9110, section 7.6.3).
func (s *Server) isLoop(via []string) bool {
	for _, member := range wire.Tokens(via) {
		// received-protocol RWS received-by [ RWS comment ]
		if parts := strings.Fields(member); len(parts) > 1 && strings.EqualFold(parts[1], s.Pseudonym()) {
			return true
		}
	}
	return false
}
