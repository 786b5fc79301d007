package tunnel

import "fmt"

// interception is what the facts come to, with credentials masked, or nil.
func (s *session) interception() *Interception {
	if s.facts == nil {
		return nil
	}
	out := s.facts.judge()
	for i := range out.Evidence {
		out.Evidence[i].Text = s.mask.text(out.Evidence[i].Text)
	}
	return out
}

// tellMiddle adds to a verdict who speaks TLS. What else is wrong with a tunnel
// comes first.
func (s *session) tellMiddle(v *Verdict) {
	if s.middle == nil || v.Kind != VerdictOpen && v.Kind != VerdictTLS {
		return
	}
	switch s.middle.Verdict {
	case MiddleFound:
		if v.Kind == VerdictOpen {
			v.Phase, v.Error, v.ExitCode = PhaseTLS, ErrorTLSCertificate.String(), ExitProxyTLS
		}
		v.Kind, v.Words, v.Hint = VerdictIntercepted, "intercepted by "+s.middle.By, s.middle.Hint
	case MiddleNone:
		if v.Kind == VerdictOpen {
			v.Words += ", TLS end to end"
		}
	case MiddleUnknown:
		if v.Kind == VerdictOpen {
			v.Words += ", cannot tell whether TLS is end to end"
		}
		if v.Hint == "" || v.Kind == VerdictTLS {
			v.Hint = s.middle.Hint
		}
	}
}

// interception lists the evidence, and what it comes to.
func (t *reportText) interception(m *Interception) {
	if m == nil {
		return
	}
	t.heading("is somebody in the middle?")
	dress := map[string]func(string) string{MiddleNone: t.good, MiddleFound: t.bad, MiddleUnknown: t.faint}
	for _, e := range m.Evidence {
		mark := map[string]string{MiddleNone: "no", MiddleFound: "yes", MiddleUnknown: "-"}[e.Says]
		if e.Decisive {
			mark += "!"
		}
		t.say("  %s  %s", dress[e.Says](fmt.Sprintf("%-4s", mark)), e.Text)
	}
	words := m.Verdict
	if m.By != "" {
		words += " by " + m.By
	}
	if m.Verdict == MiddleUnknown {
		t.say("  %s", t.warn(words))
		return
	}
	t.say("  %s", dress[m.Verdict](words))
}
