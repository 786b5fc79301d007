package tunnel

import (
	"net/netip"
	"strings"

	"culvert/tunnel/internal/wire"
)

// asked is what the first stages judge of a request: CONNECT or plain, of
// whatever protocol version.
type asked struct {
	target      Authority
	client      netip.Addr
	user        string   // whom the client's certificate has made it, "" = nobody
	credentials []string // Proxy-Authorization values
	looped      bool     // our own pseudonym is in Via
}

// judge applies the stages that every request passes before anything is opened
// for it, and notes in rec who asks and which rule decided: verify first, so
// that a stranger learns neither our pseudonym nor the policy.
func (at *listening) judge(a asked, rec *Record) *Error {
	user, e := at.verify(a)
	if e != nil {
		return e
	}
	rec.User = user
	if a.looped {
		return &Error{Phase: PhaseRequest, Type: ErrorLoop, Target: a.target}
	}
	decision := at.policy.JudgeTarget(a.target)
	rec.Rule = decision.Rule
	return decision.err(a.target)
}

// isLoop reports whether the request has been here before (RFC 9110, section
// 7.6.3): our own pseudonym is in its Via.
func (s *Server) isLoop(via []string) bool {
	for _, member := range wire.Tokens(via) {
		// received-protocol RWS received-by [ RWS comment ]
		if parts := strings.Fields(member); len(parts) > 1 && strings.EqualFold(parts[1], s.pseudonym()) {
			return true
		}
	}
	return false
}
