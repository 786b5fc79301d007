package interception

import (
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	"culvert/tunnel"
)

// peer is the other end of a TLS handshake, as that showed it.
type peer struct {
	name        string              // the server name that was asked for
	chain       []*x509.Certificate // as sent; empty = no certificate came
	alpn        string
	version     uint16 // of TLS
	publicError error  // why no public authority vouches for the chain; nil = one does
	nameError   error  // why the certificate is not for the name; nil = it is
	incomplete  bool   // a public authority vouches for it only with certificates that other peers sent
	expired     bool   // the certificate is not valid now; publicError is about the time when it was
	trusted     bool   // by the system or by the roots that the user named, for the name
	byNamedRoot bool   // a root that the user named vouches for the chain, for any name, or did before the chain expired
	failure     string // why there is no chain, in a sentence; "" = no certificate came, for an unknown reason
}

// hasChain reports whether the peer was asked, and a certificate came.
func (p *peer) hasChain() bool { return p != nil && len(p.chain) > 0 }

// leaf returns the peer's own certificate. The chain must not be empty.
func (p *peer) leaf() *x509.Certificate { return p.chain[0] }

// public reports whether a public authority issued the certificate, for the right
// name.
func (p *peer) public() bool { return p.hasChain() && p.publicError == nil && p.nameError == nil }

// why says why there is no chain.
func (p *peer) why() string {
	return cmp.Or(p.failure, "none came")
}

// facts is all that a Check found out. A peer that was not asked is nil.
type facts struct {
	target      *peer // through the proxies
	named       bool  // its chain leads to an authority that the user named
	pinned      bool  // its key is the one that the user named
	systemError error // why the system does not trust its chain; nil = it does
	direct      *peer // the target, without the proxies
	unrelated   []*peer
	nonexistent *peer // a host that cannot exist, through the proxies
	invented    *peer // the target, asked through the proxies for a server name that cannot exist
	now         time.Time
	times       Times
}

// vouchedFor reports whether the user named the target's authority or key. Then the
// target may well differ from what the world sees under its name.
func (f *facts) vouchedFor() bool { return f.named || f.pinned }

// doubtful reports whether the certificate that the user vouched for could be the
// interceptor's: many users trust the authority of an inspecting proxy.
func (f *facts) doubtful() bool {
	if f.minted() || f.product() != "" && !f.prepared() {
		return !f.sameKeyDirect()
	}
	return f.otherIssuerDirect() && !f.othersPass()
}

// othersPass reports whether some unrelated name keeps a public authority's
// certificate through the proxy.
func (f *facts) othersPass() bool {
	return slices.ContainsFunc(f.unrelated, (*peer).public)
}

// sparesOthers reports whether nothing shows that the proxy makes certificates for
// other names than the target's.
func (f *facts) sparesOthers() bool {
	return f.othersPass() && f.product() == ""
}

// splitDNS reports whether the target may have a server of its own behind the
// proxy, another than the one that is reached without it, rather than an
// interceptor before it.
func (f *facts) splitDNS() bool { return f.prepared() && f.sparesOthers() }

// sameKeyDirect reports whether the target has the same key without the proxy.
func (f *facts) sameKeyDirect() bool {
	return f.direct.hasChain() && tunnel.PinOf(f.direct.leaf()) == tunnel.PinOf(f.target.leaf())
}

// otherIssuerDirect reports whether the target shows a certificate of another issuer
// without the proxy.
func (f *facts) otherIssuerDirect() bool {
	return f.direct.hasChain() && !sameIssuer(f.direct, f.target)
}

// minted reports whether a name that nobody can have prepared for got a certificate
// at once.
func (f *facts) minted() bool {
	return f.invented.hasChain() && f.invented.nameError == nil && sameIssuer(f.invented, f.target)
}

// prepared reports whether the target shows the same certificate when asked for a
// name that cannot exist, which was therefore not made on request.
func (f *facts) prepared() bool {
	return f.invented.hasChain() && f.invented.leaf().Equal(f.target.leaf())
}
