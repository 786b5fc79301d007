package interception

import "culvert/tunnel/internal/certwords"

// weigh turns the facts into a Result. Decisive evidence of an interceptor
// outweighs all other: an interceptor that makes certificates for everybody made
// this one too.
func (f *facts) weigh() *Result {
	out := &Result{Verdict: Unknown, Evidence: []Evidence{}}
	for _, row := range rows {
		says, decisive, text := row.weigh(f)
		if says == "" {
			continue
		}
		out.Evidence = append(out.Evidence, Evidence{row.id, says, decisive, text})
		if decisive && out.Verdict != Intercepted {
			out.Verdict = says
		}
	}
	switch out.Verdict {
	case Intercepted:
		out.By = f.interceptor()
		out.Hint = f.interceptedHint()
	case Unknown:
		out.Hint = f.unknownHint()
	}
	return out
}

// interceptedHint says what the interception means for the user.
func (f *facts) interceptedHint() string {
	switch {
	case sameIssuer(f.direct, f.target):
		return "it is met without the proxy as well: look for it in this network, or on this machine"
	case f.target.publicError == nil:
		return "another server answers in the target's place, as a captive portal does: log in there by a browser, or ask who runs the proxy"
	case signedByItself(f.target.leaf()):
		return "what goes through can be read and changed there: ask who runs the proxy"
	}
	return "what goes through can be read and changed there; a program that is to work regardless has to trust " + issuerOf(f.target.leaf())
}

// unknownHint says how the user can find out more.
func (f *facts) unknownHint() string {
	switch {
	case f.vouchedFor():
		return "you may have named an interceptor's certificate: compare with what a machine that goes through no proxy is shown"
	case f.direct.hasChain() && !f.sameKeyDirect() && f.splitDNS():
		return "ask who runs the proxy: the target has another server behind it, or somebody inspects this target alone"
	case f.target.publicError == nil, f.target.byNamedRoot:
		return "the certificate is for another name: if the target goes by that, say so with --tls-server-name"
	case signedByItself(f.target.leaf()):
		return "if that certificate is the target's own, name it by --tls-cacert"
	}
	return "if " + issuerOf(f.target.leaf()) + " is the target's own authority, name its certificate by --tls-cacert"
}

// interceptor names the interceptor: the issuer of the target's certificate or, if
// that is a public authority, which issues to anybody, the host that the
// certificate is for.
func (f *facts) interceptor() string {
	leaf := f.target.leaf()
	if names := certwords.Hosts(leaf); f.target.publicError == nil && len(names) > 0 {
		return `"` + names[0] + `"`
	}
	if signedByItself(leaf) {
		return "somebody whose certificate is signed by itself"
	}
	return issuerOf(leaf)
}
