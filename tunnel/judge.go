package tunnel

import (
	"net/netip"
)

// asked is what the first stages judge of a request: CONNECT or plain, of
// whatever protocol version.
type asked struct {
	target      Authority
	client      netip.Addr
	credentials []string // Proxy-Authorization values
	looped      bool     // our own pseudonym is in Via
}

// judge applies the stages that every request passes before anything is opened
// for it, and notes in rec who asks and which rule decided: verify first, so
// that a stranger learns neither our pseudonym nor the policy.
func (at *listening) judge(a asked, rec *Record) *Error {
	user, e := at.server.verify(a.credentials, a.client)
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
