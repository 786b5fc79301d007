package probe

import (
	"errors"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/interception"
)

// addInterception adds to a verdict who speaks TLS in the tunnel. A verdict on a
// failure before TLS stays as it is.
func (s *session) addInterception(v *Verdict) {
	if s.interception == nil {
		return
	}
	fault := s.certificateFault() // all else about the handshake is right
	switch s.interception.Verdict {
	case interception.Intercepted:
		s.setIntercepted(v)
	case interception.EndToEnd:
		switch {
		case v.Kind == VerdictOpen:
			v.Words += ", TLS end to end"
		case fault != "":
			v.Words = "TLS end to end with the target, but not trusted (" + fault + ")"
		case v.Kind == VerdictTLS:
			v.Words += ", and nobody in the middle"
		}
	case interception.Unknown:
		switch {
		case v.Kind == VerdictOpen:
			v.Words += ", cannot tell whether TLS is end to end"
		case fault != "":
			v.Words = "cannot tell who speaks TLS (" + fault + ")"
		case v.Kind == VerdictTLS:
			v.Words += ", cannot tell who speaks it"
		}
		if v.Hint == "" || s.unknownIssuer() {
			v.Hint = s.interception.Hint
		}
	}
}

// certificateFault says why the target's certificate is not accepted; "" = it is
// accepted, or TLS failed for another reason.
func (s *session) certificateFault() string {
	if s.err == nil || s.err.Phase != tunnel.PhaseTLS || s.err.Hop != "" || s.err.Type != tunnel.ErrorTLSCertificate {
		return ""
	}
	f, ok := errors.AsType[*client.TLSFailure](s.err.Err)
	if !ok {
		return ""
	}
	return f.Words
}

// unknownIssuer reports whether TLS failed because no trusted authority vouches for
// the certificate. The interception check has a better hint for that.
func (s *session) unknownIssuer() bool {
	if s.err == nil {
		return false
	}
	f, ok := errors.AsType[*client.TLSFailure](s.err.Err)
	return ok && (f.Problem == client.TLSUnknownAuthority || f.Problem == client.TLSSelfSigned)
}

// setIntercepted makes v the verdict of an interception.
func (s *session) setIntercepted(v *Verdict) {
	words := "intercepted by " + s.interception.By
	switch v.Kind {
	case VerdictOpen, VerdictTLS:
	case VerdictBroken:
		words += ", and " + v.Words
	default:
		return
	}
	if v.Kind != VerdictTLS {
		v.Phase, v.Error, v.ExitCode = tunnel.PhaseTLS, tunnel.ErrorTLSCertificate.String(), tunnel.ExitProxyTLS
	}
	v.Kind, v.Words, v.Hint = VerdictIntercepted, words, s.interception.Hint
}
