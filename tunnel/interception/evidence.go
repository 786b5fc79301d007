package interception

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"culvert/tunnel/internal/certwords"
	"culvert/tunnel/internal/wire"
)

// row weighs one kind of evidence. An empty says means that the facts hold nothing
// about it.
type row struct {
	id    string
	weigh func(f *facts) (says Verdict, decisive bool, text string)
}

// rows lists the kinds of evidence, in the order of the report.
var rows = [...]row{
	{"public-authority", weighPublic},
	{"named-authority", weighNamed},
	{"system-trust", weighSystem},
	{"direct-certificate", weighDirect},
	{"direct-manner", weighManner},
	{"unrelated-names", weighUnrelated},
	{"nonexistent-host", weighNonexistent},
	{"invented-name", weighInvented},
	{"known-product", weighProduct},
	{"fresh-certificate", weighFresh},
	{"timing", weighTiming},
}

func weighPublic(f *facts) (Verdict, bool, string) {
	t := f.target
	signed := "the certificate is signed by " + issuerOf(t.leaf())
	switch {
	case t.public() && f.now.Before(t.leaf().NotBefore):
		return EndToEnd, true, signed + ", a public authority, and for the right name; by the clock here it is not valid yet"
	case t.public() && t.expired:
		return EndToEnd, true, signed + ", a public authority, and for the right name; it has expired"
	case t.public() && t.incomplete:
		return EndToEnd, true, signed + ", a public authority, and for the right name; the server forgot to send an intermediate certificate"
	case t.public():
		return EndToEnd, true, signed + ", a public authority, and for the right name"
	case t.publicError == nil:
		return Unknown, false, signed + ", a public authority, but for " + certwords.List(certwords.Hosts(t.leaf()))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](t.publicError); !ok {
		return Unknown, false, signed + ", and no public authority vouches for it: " + certwords.Cause(t.publicError)
	}
	return Unknown, false, signed + ", and no public authority vouches for it"
}

func weighNamed(f *facts) (Verdict, bool, string) {
	switch {
	case f.pinned:
		return EndToEnd, !f.doubtful(), "its key is the one you named"
	case f.named:
		return EndToEnd, !f.doubtful(), "it leads to an authority that you named"
	}
	return "", false, ""
}

// weighSystem looks for an authority that was added to those of this machine,
// whether by an interceptor or for an organization's own internal names.
func weighSystem(f *facts) (Verdict, bool, string) {
	switch {
	case f.target.publicError == nil || f.named:
		return "", false, ""
	case f.systemError == nil:
		return Intercepted, false, "this machine trusts it all the same: the authority was added here, unless the system came with it"
	}
	return Unknown, false, "this machine does not trust it either"
}

func weighDirect(f *facts) (Verdict, bool, string) {
	d := f.direct
	switch {
	case d == nil:
		return "", false, ""
	case !d.hasChain():
		return Unknown, false, "without the proxy the target shows no certificate: " + d.why()
	case f.sameKeyDirect():
		return EndToEnd, !f.minted() && f.product() == "", "without the proxy the target has the same key: it is not the proxy that speaks TLS"
	case f.target.public():
		return Unknown, false, "without the proxy the target shows another certificate, signed by " + issuerOf(d.leaf())
	case d.public():
		return Intercepted, !f.vouchedFor() && !f.splitDNS(), "without the proxy the target shows a public authority's certificate, signed by " + issuerOf(d.leaf())
	case d.trusted && !f.target.trusted && !f.pinned:
		return Intercepted, d.byNamedRoot && !f.splitDNS(), "without the proxy the target shows a certificate that is trusted, signed by " + issuerOf(d.leaf())
	case sameIssuer(d, f.target):
		return Unknown, false, "without the proxy the target shows another certificate, signed by the same authority"
	}
	return Intercepted, false, "without the proxy the target shows another certificate, signed by " + issuerOf(d.leaf())
}

func weighManner(f *facts) (Verdict, bool, string) {
	d := f.direct
	switch {
	case !d.hasChain() || f.target.public():
		return "", false, ""
	case d.alpn != f.target.alpn:
		return Intercepted, false, "without the proxy it agrees on " + d.agreed() + ", through it on " + f.target.agreed()
	case d.version != f.target.version:
		return Intercepted, false, fmt.Sprintf("without the proxy it speaks %s, through it %s", tls.VersionName(d.version), tls.VersionName(f.target.version))
	}
	return Unknown, false, "version and protocol are the same without the proxy"
}

// agreed describes the protocol that ALPN negotiated.
func (p *peer) agreed() string {
	return certwords.ALPN(wire.Escape([]byte(p.alpn), maxALPN))
}

// maxALPN bounds how much of a protocol's name is shown, in bytes of ASCII.
const maxALPN = 200

// weighUnrelated looks at names whose owners have nothing in common with the
// target's, nor with each other.
func weighUnrelated(f *facts) (Verdict, bool, string) {
	var same, public, others, silent []string
	for _, u := range f.unrelated {
		switch {
		case !u.hasChain():
			silent = append(silent, u.name)
		case u.public():
			public = append(public, u.name)
		case sameIssuer(u, f.target):
			same = append(same, u.name)
		default:
			others = append(others, u.name+" shows a certificate signed by "+issuerOf(u.leaf()))
		}
	}
	switch {
	case len(f.unrelated) == 0:
		return "", false, ""
	case len(same) > 0 && (f.target.publicError == nil || signedByItself(f.target.leaf())):
		return Intercepted, true, "through the proxy the key is that of " + strings.Join(same, " and ") + " too"
	case len(same) > 0:
		return Intercepted, true, "who made the certificate makes that of " + strings.Join(same, " and ") + " too"
	case len(public) > 0:
		return EndToEnd, false, "through the proxy " + strings.Join(public, " and ") + " has a public authority's certificate"
	case len(others) > 0:
		return Unknown, false, "through the proxy " + strings.Join(others, ", and ")
	}
	return Unknown, false, "through the proxy there is no certificate of " + strings.Join(silent, " and ") + ": " + f.unrelated[0].why()
}

// weighNonexistent looks at a host that nobody can have prepared a certificate for.
// A certificate for another name proves nothing: some resolvers lead every unknown
// name to one server, which may even be the target's.
func weighNonexistent(f *facts) (Verdict, bool, string) {
	n := f.nonexistent
	switch {
	case n == nil:
		return "", false, ""
	case !n.hasChain():
		return Unknown, false, "through the proxy a host that cannot exist shows no certificate"
	case n.leaf().Equal(f.target.leaf()):
		return Intercepted, false, "through the proxy a host that cannot exist shows the same certificate"
	case sameIssuer(n, f.target) && n.nameError != nil:
		return Intercepted, false, "through the proxy a host that cannot exist shows a certificate signed by the same authority"
	case sameIssuer(n, f.target):
		return Intercepted, true, "who made the certificate makes one for " + n.name + " too, a host that cannot exist"
	}
	return Intercepted, false, "through the proxy somebody speaks TLS as " + n.name + ", a host that cannot exist, by a certificate signed by " + issuerOf(n.leaf())
}

// weighInvented looks at what the target shows when asked for a name that nobody
// can have prepared for. A certificate for that name is decisive unless the target
// itself may make certificates on request: then the user has vouched for the
// target, or the target does so without the proxy too, or the proxy makes none for
// other names.
func weighInvented(f *facts) (Verdict, bool, string) {
	n := f.invented
	switch {
	case n == nil:
		return "", false, ""
	case !n.hasChain():
		return Unknown, false, "under a name that cannot exist the target shows no certificate"
	case f.prepared():
		return EndToEnd, false, "under a name that cannot exist the target shows the same certificate: it was there already"
	case n.nameError != nil:
		return Unknown, false, "under a name that cannot exist the target shows another certificate, which is not for that name"
	}
	doubtful := f.vouchedFor() && f.sparesOthers()
	if !f.direct.hasChain() { // there is nothing to compare with, and either is reason to doubt
		doubtful = f.vouchedFor() || f.sparesOthers()
	}
	return Intercepted, f.minted() && !doubtful && !sameIssuer(f.direct, f.target),
		"asked for " + n.name + ", which cannot exist, the target shows a certificate made for that"
}

func weighProduct(f *facts) (Verdict, bool, string) {
	product := f.product()
	if f.target.publicError == nil || product == "" {
		return "", false, ""
	}
	return Intercepted, false, "the authority goes by the name of " + product + ", which makes certificates for what goes through it"
}

// freshness is the age up to which a certificate looks as if it was made on
// request.
const freshness = time.Hour

func weighFresh(f *facts) (Verdict, bool, string) {
	age := f.now.Sub(f.target.leaf().NotBefore)
	if f.target.publicError == nil || age < 0 || age > freshness {
		return "", false, ""
	}
	return Intercepted, false, fmt.Sprintf("the certificate is only %v old", age.Round(time.Second))
}

// farEnough is how much longer the proxy's answer has to take than connecting to
// the proxy for the times to mean anything.
const farEnough = 5 * time.Millisecond

// weighTiming compares the round trip inside the tunnel, which is the handshake of
// TLS 1.3, with the round trip to the proxy and the proxy's own way to the target.
// The latter includes resolving the name, so the result is never decisive.
func weighTiming(f *facts) (Verdict, bool, string) {
	t := f.times
	beyond := t.Reply - t.Proxy
	if t.Proxy <= 0 || t.Handshake <= 0 {
		return "", false, ""
	}
	times := fmt.Sprintf("the proxy is %s away, its answer took %s, TLS with the target %s", inMilliseconds(t.Proxy), inMilliseconds(t.Reply), inMilliseconds(t.Handshake))
	switch {
	case beyond < farEnough:
		return Unknown, false, times + ": too near to tell"
	case t.Handshake < t.Proxy+beyond/4:
		return Intercepted, false, times + ": whoever answered is not as far away as the target"
	case t.Handshake > 2*t.Reply:
		return Unknown, false, times + ": longer than the way explains"
	case t.Handshake > t.Proxy+beyond/2:
		return EndToEnd, false, times + ": whoever answered is about as far away as the target"
	}
	return Unknown, false, times
}

// inMilliseconds formats a duration in milliseconds, with three decimals.
func inMilliseconds(d time.Duration) string {
	return fmt.Sprintf("%.3f ms", float64(d.Microseconds())/1000)
}
