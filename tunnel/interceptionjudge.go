package tunnel

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"culvert/tunnel/internal/wire"
)

// interceptionRow weighs one kind of evidence. says is "" where the facts say
// nothing about it.
type interceptionRow struct {
	id    string
	weigh func(f *interceptionFacts) (says string, decisive bool, text string)
}

// interceptionRows are weighed in this order.
var interceptionRows = [...]interceptionRow{
	{"public-authority", weighPublic},
	{"named-authority", weighNamed},
	{"system-trust", weighSystem},
	{"direct-certificate", weighDirect},
	{"direct-manner", weighManner},
	{"unrelated-names", weighUnrelated},
	{"nonexistent-host", weighNonexistent},
	{"invented-name", weighInvented},
	{"known-maker", weighMaker},
	{"fresh-certificate", weighFresh},
	{"timing", weighTiming},
}

// judge weighs the facts. What decides for somebody in the middle outweighs the
// rest: whoever makes certificates for everybody made this one.
func (f *interceptionFacts) judge() *Interception {
	out := &Interception{Verdict: MiddleUnknown, Evidence: []Evidence{}}
	for _, row := range interceptionRows {
		says, decisive, text := row.weigh(f)
		if says == "" {
			continue
		}
		out.Evidence = append(out.Evidence, Evidence{row.id, says, decisive, text})
		if decisive && out.Verdict != MiddleFound {
			out.Verdict = says
		}
	}
	switch out.Verdict {
	case MiddleFound:
		out.By = f.maker()
		out.Hint = "what goes through can be read and changed there; a program that is to work regardless has to trust " + out.By
		if f.direct.came() && sameMaker(f.direct.chain, f.target.chain) {
			out.Hint = "it is met without the proxy as well: look for it in this network, or on this machine"
		}
	case MiddleUnknown:
		out.Hint = "if " + f.maker() + " is the target's own authority, name its certificate by --tls-cacert"
	}
	return out
}

// maker names who signed the target's certificate.
func (f *interceptionFacts) maker() string {
	issuer := f.target.chain[0].Issuer
	name := wire.Escape([]byte(issuer.CommonName), 80)
	var org string
	if len(issuer.Organization) > 0 {
		org = wire.Escape([]byte(issuer.Organization[0]), 80)
	}
	switch {
	case name == "" && org == "":
		return "an authority without a name"
	case name == "":
		return `"` + org + `"`
	case org == "" || org == name:
		return `"` + name + `"`
	}
	return `"` + name + `" of "` + org + `"`
}

func weighPublic(f *interceptionFacts) (string, bool, string) {
	if f.target.public == nil {
		return MiddleNone, true, "the certificate is " + f.maker() + "'s, whom a public authority vouches for, and for the right name"
	}
	return MiddleUnknown, false, "the certificate is " + f.maker() + "'s; no public authority vouches for it: " + certificateWords(f.target.public)
}

func weighNamed(f *interceptionFacts) (string, bool, string) {
	switch {
	case f.pinned:
		return MiddleNone, true, "its key is the one you named"
	case f.named:
		return MiddleNone, true, "it leads to an authority that you named"
	}
	return "", false, ""
}

// weighSystem is about what was added to this machine's authorities, or to its
// own internal names.
func weighSystem(f *interceptionFacts) (string, bool, string) {
	switch {
	case f.target.public == nil || f.named:
		return "", false, ""
	case f.system == nil:
		return MiddleFound, false, "this machine trusts it all the same: somebody added the authority to the system's"
	}
	return MiddleUnknown, false, "this machine does not trust it either"
}

func weighDirect(f *interceptionFacts) (string, bool, string) {
	d := f.direct
	switch {
	case d == nil:
		return "", false, ""
	case !d.came():
		return MiddleUnknown, false, "without the proxy the target shows no certificate: " + d.why()
	case PinOf(d.chain[0]) == PinOf(f.target.chain[0]):
		return MiddleNone, true, "without the proxy the target has the same key: it is not the proxy that speaks TLS"
	case d.public == nil && f.target.public != nil:
		return MiddleFound, !f.vouched(), "without the proxy the target shows a public authority's certificate, by " + issuerOf(d.chain)
	case sameMaker(d.chain, f.target.chain):
		return MiddleUnknown, false, "without the proxy the target shows another key, by the same authority"
	case f.target.public == nil:
		return MiddleUnknown, false, "without the proxy the target shows another certificate, by " + issuerOf(d.chain)
	}
	return MiddleFound, false, "without the proxy the target's certificate is by another authority: " + issuerOf(d.chain)
}

// vouched reports whether the user did so for the target's authority or key:
// then a server may well differ from what the world sees under its name.
func (f *interceptionFacts) vouched() bool { return f.named || f.pinned }

func weighManner(f *interceptionFacts) (string, bool, string) {
	d := f.direct
	switch {
	case !d.came() || f.target.public == nil:
		return "", false, ""
	case d.alpn != f.target.alpn:
		return MiddleFound, false, fmt.Sprintf("without the proxy it agrees on %s, through it on %s", alpnWords(wire.Escape([]byte(d.alpn), maxShown)), alpnWords(wire.Escape([]byte(f.target.alpn), maxShown)))
	case d.tls != f.target.tls:
		return MiddleFound, false, fmt.Sprintf("without the proxy it speaks %s, through it %s", tls.VersionName(d.tls), tls.VersionName(f.target.tls))
	}
	return MiddleUnknown, false, "version and protocol are the same without the proxy"
}

// weighUnrelated is about names whose owners have nothing in common with the
// target's, nor with each other.
func weighUnrelated(f *interceptionFacts) (string, bool, string) {
	var same, public, silent []string
	for _, u := range f.unrelated {
		switch {
		case !u.came():
			silent = append(silent, u.name)
		case sameMaker(u.chain, f.target.chain):
			same = append(same, u.name)
		case u.public == nil:
			public = append(public, u.name)
		}
	}
	switch {
	case len(f.unrelated) == 0:
		return "", false, ""
	case len(same) > 0:
		return MiddleFound, true, "the same authority makes the certificate of " + strings.Join(same, " and ")
	case len(public) > 0:
		return MiddleNone, false, "through the proxy " + strings.Join(public, " and ") + " keeps a public authority's certificate"
	case len(silent) == len(f.unrelated):
		return MiddleUnknown, false, "through the proxy there is no certificate of " + strings.Join(silent, " and ") + ": " + f.unrelated[0].why()
	}
	return MiddleUnknown, false, "the certificates of unrelated names are neither public nor by the same authority"
}

func weighNonexistent(f *interceptionFacts) (string, bool, string) {
	n := f.nonexistent
	switch {
	case n == nil:
		return "", false, ""
	case !n.came():
		return MiddleNone, false, "for a host that cannot exist the proxy has no certificate"
	case sameMaker(n.chain, f.target.chain):
		return MiddleFound, true, "the same authority makes a certificate for " + n.name + ", a host that cannot exist"
	}
	return MiddleFound, false, "somebody speaks TLS for " + n.name + ", a host that cannot exist, by " + issuerOf(n.chain)
}

// weighInvented asks the target for a name that nobody can have prepared for.
// A target may make certificates itself, though: then the user knows, or it does
// so without the proxy too.
func weighInvented(f *interceptionFacts) (string, bool, string) {
	n := f.invented
	switch {
	case n == nil:
		return "", false, ""
	case !n.came():
		return MiddleUnknown, false, "under a name that cannot exist the target shows no certificate"
	case n.chain[0].VerifyHostname(n.name) != nil:
		return MiddleNone, false, "under a name that cannot exist the target shows a certificate that was there already"
	}
	itself := f.direct.came() && PinOf(f.direct.chain[0]) == PinOf(f.target.chain[0])
	return MiddleFound, !itself && !f.vouched() && sameMaker(n.chain, f.target.chain),
		"asked for " + n.name + ", which cannot exist, it has a certificate for that at once"
}

// makers are products that make certificates, by a piece of their authority's
// name, in lower case.
var makers = [...]struct{ piece, product string }{
	{"mitmproxy", "mitmproxy"}, {"portswigger", "Burp"}, {"charles proxy", "Charles"}, {"do_not_trust_fiddler", "Fiddler"},
	{"zscaler", "Zscaler"}, {"netskope", "Netskope"}, {"goskope", "Netskope"}, {"fortinet", "FortiGate"}, {"fortigate", "FortiGate"},
	{"palo alto networks", "Palo Alto Networks"}, {"forcepoint", "Forcepoint"}, {"websense", "Forcepoint"}, {"blue coat", "Symantec ProxySG"},
	{"bluecoat", "Symantec ProxySG"}, {"cisco umbrella", "Cisco Umbrella"}, {"check point", "Check Point"}, {"sophos", "Sophos"},
	{"mcafee web gateway", "Skyhigh Secure Web Gateway"}, {"skyhigh", "Skyhigh Secure Web Gateway"}, {"barracuda", "Barracuda"},
	{"watchguard", "WatchGuard"}, {"sonicwall", "SonicWall"}, {"untangle", "Untangle"}, {"kaspersky", "Kaspersky"}, {"avast web", "Avast"},
	{"eset ssl filter", "ESET"}, {"bitdefender", "Bitdefender"}, {"adguard", "AdGuard"}, {"gateway ca - cloudflare", "Cloudflare Gateway"},
	{"iboss", "iboss"}, {"contentkeeper", "ContentKeeper"}, {"lightspeed", "Lightspeed"}, {"securly", "Securly"}, {"squid", "squid"}, {"privoxy", "Privoxy"},
}

func weighMaker(f *interceptionFacts) (string, bool, string) {
	if f.target.public == nil {
		return "", false, ""
	}
	for _, c := range f.target.chain {
		name := strings.ToLower(c.Issuer.String())
		for _, m := range makers {
			if strings.Contains(name, m.piece) {
				return MiddleFound, false, "the authority's name is that of " + m.product + ", which can make certificates"
			}
		}
	}
	return "", false, ""
}

// freshness is how young a certificate is when it looks made for the occasion.
const freshness = time.Hour

func weighFresh(f *interceptionFacts) (string, bool, string) {
	age := f.now.Sub(f.target.chain[0].NotBefore)
	if f.target.public == nil || age < 0 || age > freshness {
		return "", false, ""
	}
	return MiddleFound, false, fmt.Sprintf("the certificate is valid only since %v ago", age.Round(time.Second))
}

// farEnough is how much longer than its own connection a proxy's answer has to
// take for the times to tell anything.
const farEnough = 5 * time.Millisecond

// weighTiming compares the round trip within the tunnel, which is that of TLS
// 1.3's handshake, with the way to the proxy and its way to the target. The name's
// resolution is among the latter, so this is a hint and no more.
func weighTiming(f *interceptionFacts) (string, bool, string) {
	beyond := f.reply - f.near
	if f.near <= 0 || f.handshake <= 0 {
		return "", false, ""
	}
	times := fmt.Sprintf("the proxy is %s away, its answer took %s, TLS with the target %s", milliseconds3(micros(f.near)), milliseconds3(micros(f.reply)), milliseconds3(micros(f.handshake)))
	switch {
	case beyond < farEnough:
		return MiddleUnknown, false, times + ": too near to tell"
	case f.handshake < f.near+beyond/4:
		return MiddleFound, false, times + ": whoever answered is not as far away as the target"
	case f.handshake > f.near+beyond/2:
		return MiddleNone, false, times + ": whoever answered is about as far away as the target"
	}
	return MiddleUnknown, false, times
}

// sameMaker reports whether one authority made both certificates, or both have
// the same key, as those of some who make them have.
func sameMaker(a, b []*x509.Certificate) bool {
	x, y := a[0], b[0]
	if PinOf(x) == PinOf(y) {
		return true
	}
	if x.Issuer.String() == "" || !bytes.Equal(x.RawIssuer, y.RawIssuer) {
		return false
	}
	return len(x.AuthorityKeyId) == 0 || len(y.AuthorityKeyId) == 0 || bytes.Equal(x.AuthorityKeyId, y.AuthorityKeyId)
}

func issuerOf(chain []*x509.Certificate) string { return distinguished(chain[0].Issuer.String()) }

// why says why there is no chain.
func (s *shown) why() string {
	if s.err == nil {
		return "none came"
	}
	sentence, _ := Explain(s.err)
	return sentence
}
