package interception

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/certwords"
	"culvert/tunnel/internal/wire"
)

// weigh weighs the facts. What decides for somebody in the middle outweighs the
// rest: whoever makes certificates for everybody made this one.
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
		out.By = f.by()
		out.Hint = f.foundHint()
	case Unknown:
		out.Hint = f.unknownHint()
	}
	return out
}

// foundHint says what that means.
func (f *facts) foundHint() string {
	switch {
	case sameMaker(f.direct, f.target):
		return "it is met without the proxy as well: look for it in this network, or on this machine"
	case f.target.trust == nil:
		return "another server answers in the target's place, as a captive portal does: log in there by a browser, or ask who runs the proxy"
	case signedByItself(f.target.leaf()):
		return "what goes through can be read and changed there: ask who runs the proxy"
	}
	return "what goes through can be read and changed there; a program that is to work regardless has to trust " + makerOf(f.target.leaf())
}

// unknownHint says what would tell more.
func (f *facts) unknownHint() string {
	switch {
	case f.vouched():
		return "you may have named an interceptor's certificate: compare with what a machine that goes through no proxy is shown"
	case f.direct.came() && !f.sameWithout() && f.split():
		return "ask who runs the proxy: the target has another server behind it, or somebody inspects this target alone"
	case f.target.trust == nil, f.target.named:
		return "the certificate is for another name: if the target goes by that, say so with --tls-server-name"
	case signedByItself(f.target.leaf()):
		return "if that certificate is the target's own, name it by --tls-cacert"
	}
	return "if " + makerOf(f.target.leaf()) + " is the target's own authority, name its certificate by --tls-cacert"
}

// by names who is in the middle: who signed the target's certificate, or, as
// public authorities sign for anybody, whom it is for.
func (f *facts) by() string {
	leaf := f.target.leaf()
	if names := certwords.Hosts(leaf); f.target.trust == nil && len(names) > 0 {
		return `"` + names[0] + `"`
	}
	if signedByItself(leaf) {
		return "somebody whose certificate is signed by itself"
	}
	return makerOf(leaf)
}

// makerOf names who signed a certificate.
func makerOf(c *x509.Certificate) string {
	if signedByItself(c) {
		return "itself"
	}
	issuer := c.Issuer
	name, org := issuer.CommonName, ""
	if len(issuer.Organization) > 0 {
		org = issuer.Organization[0]
	}
	switch {
	case name == "" && org == "":
		return "an authority without a name"
	case name == "":
		return quoted(org)
	case org == "" || org == name:
		return quoted(name)
	}
	return quoted(name) + " of " + quoted(org)
}

// quoted is a certificate's name for a sentence.
func quoted(name string) string {
	return `"` + wire.Escape([]byte(strings.ReplaceAll(name, `"`, "'")), 80) + `"`
}

// vouched reports whether the user did so for the target's authority or key:
// then a server may well differ from what the world sees under its name.
func (f *facts) vouched() bool { return f.named || f.pinned }

// doubted reports whether what the user vouched for could be whoever is in the
// middle: many have an inspecting proxy's authority among those they trust.
func (f *facts) doubted() bool {
	if f.minted() || f.product() != "" && !f.kept() {
		return !f.sameWithout()
	}
	return f.otherWithout() && !f.othersPass()
}

// othersPass reports whether an unrelated name keeps a public authority's
// certificate through the proxy.
func (f *facts) othersPass() bool {
	return slices.ContainsFunc(f.unrelated, (*shown).public)
}

// spared reports whether nothing shows that the proxy makes certificates for
// others than the target.
func (f *facts) spared() bool {
	return f.othersPass() && f.product() == ""
}

// split reports whether the target may have a server of its own behind the proxy,
// which is not the one that is met without it (split DNS), rather than somebody
// before it.
func (f *facts) split() bool { return f.kept() && f.spared() }

// sameWithout and otherWithout report whether the target has the same key
// without the proxy, or a certificate of another maker's.
func (f *facts) sameWithout() bool {
	return f.direct.came() && tunnel.PinOf(f.direct.leaf()) == tunnel.PinOf(f.target.leaf())
}

func (f *facts) otherWithout() bool {
	return f.direct.came() && !sameMaker(f.direct, f.target)
}

// minted reports whether there was a certificate at once for a name that nobody
// can have prepared for.
func (f *facts) minted() bool {
	return f.invented.came() && f.invented.nameError == nil && sameMaker(f.invented, f.target)
}

// kept reports whether the target shows the same certificate under a name that
// cannot exist.
func (f *facts) kept() bool {
	return f.invented.came() && f.invented.leaf().Equal(f.target.leaf())
}

// sameMaker reports whether one authority made both certificates, or both have
// the same key, as those of some who make them have. Public authorities make
// them for anybody, and do not count; nor do the names in certificates that are
// signed by themselves, which programs fill in alike.
func sameMaker(a, b *shown) bool {
	if !a.came() || !b.came() {
		return false
	}
	x, y := a.leaf(), b.leaf()
	switch {
	case tunnel.PinOf(x) == tunnel.PinOf(y):
		return true
	case a.trust == nil, b.trust == nil, signedByItself(x), signedByItself(y), x.Issuer.String() == "", !bytes.Equal(x.RawIssuer, y.RawIssuer):
		return false
	}
	return len(x.AuthorityKeyId) == 0 || len(y.AuthorityKeyId) == 0 || bytes.Equal(x.AuthorityKeyId, y.AuthorityKeyId)
}

// signedByItself reports whether no authority made the certificate, but whoever
// has its key.
func signedByItself(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// why says why there is no chain.
func (s *shown) why() string {
	return cmp.Or(s.failure, "none came")
}

// products are those that make certificates, by a piece of their authority's
// name, in lower case.
var products = [...]struct{ piece, product string }{
	{"mitmproxy", "mitmproxy"}, {"portswigger", "Burp"}, {"charles proxy", "Charles"}, {"do_not_trust_fiddler", "Fiddler"},
	{"zscaler", "Zscaler"}, {"netskope", "Netskope"}, {"goskope", "Netskope"}, {"fortinet", "FortiGate"}, {"fortigate", "FortiGate"},
	{"palo alto networks", "Palo Alto Networks"}, {"forcepoint", "Forcepoint"}, {"websense", "Forcepoint"}, {"blue coat", "Symantec ProxySG"},
	{"bluecoat", "Symantec ProxySG"}, {"cisco umbrella", "Cisco Umbrella"}, {"check point", "Check Point"}, {"sophos", "Sophos"},
	{"mcafee web gateway", "Skyhigh Secure Web Gateway"}, {"skyhigh", "Skyhigh Secure Web Gateway"}, {"barracuda", "Barracuda"},
	{"watchguard", "WatchGuard"}, {"sonicwall", "SonicWall"}, {"untangle", "Untangle"}, {"kaspersky", "Kaspersky"}, {"avast web", "Avast"},
	{"eset ssl filter", "ESET"}, {"bitdefender", "Bitdefender"}, {"adguard", "AdGuard"}, {"gateway ca - cloudflare", "Cloudflare Gateway"},
	{"iboss", "iboss"}, {"contentkeeper", "ContentKeeper"}, {"lightspeed", "Lightspeed"}, {"securly", "Securly"}, {"squid", "squid"}, {"cn=not trusted by ", "squid"}, {"privoxy", "Privoxy"},
}

// product is that of the authority's name, or "".
func (f *facts) product() string {
	for _, c := range f.target.chain {
		name := strings.ToLower(c.Issuer.String())
		for _, p := range products {
			if strings.Contains(name, p.piece) {
				return p.product
			}
		}
	}
	return ""
}
