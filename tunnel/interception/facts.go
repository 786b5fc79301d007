package interception

import (
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	"culvert/tunnel"
)

// shown is what a TLS handshake showed of its other end.
type peer struct {
	name        string              // that was asked for
	chain       []*x509.Certificate // as it was sent; empty = none came
	alpn        string
	version     uint16 // the version
	publicError error  // why no public authority vouches for the chain; nil = one does
	nameError   error  // why the certificate is not for the name; nil = it is
	incomplete  bool   // trust is by certificates that others sent
	expired     bool   // it is not valid now; trust is of when it was
	trusted     bool   // the system does, or those that the user named, for the name
	byNamedRoot bool   // those that the user named do, for whatever name, or did before it expired
	failure     string // why there is no chain, in a sentence; "" = none came, and no more is known
}

func (p *peer) hasChain() bool { return p != nil && len(p.chain) > 0 }

// leaf is the other end's own certificate; it came.
func (p *peer) leaf() *x509.Certificate { return p.chain[0] }

// public reports whether it is a public authority's certificate for the name.
func (p *peer) public() bool { return p.hasChain() && p.publicError == nil && p.nameError == nil }

// why says why there is no chain.
func (p *peer) why() string {
	return cmp.Or(p.failure, "none came")
}

// facts is all that a Check found out. What was not
// tried is nil.
type facts struct {
	target      *peer // through the proxies
	named       bool  // its chain leads to an authority that the user named
	pinned      bool  // its key is the one that the user named
	systemError error // why the system does not trust the chain; nil = it does
	direct      *peer // the target, through no proxy
	unrelated   []*peer
	nonexistent *peer // a host that cannot exist, through the proxies
	invented    *peer // the target by a server name that cannot exist, through the proxies
	now         time.Time
	times       Times
}

// vouched reports whether the user did so for the target's authority or key:
// then a server may well differ from what the world sees under its name.
func (f *facts) vouchedFor() bool { return f.named || f.pinned }

// doubted reports whether what the user vouched for could be whoever is in the
// middle: many have an inspecting proxy's authority among those they trust.
func (f *facts) doubtful() bool {
	if f.minted() || f.product() != "" && !f.prepared() {
		return !f.sameKeyDirect()
	}
	return f.otherIssuerDirect() && !f.othersPass()
}

// othersPass reports whether an unrelated name keeps a public authority's
// certificate through the proxy.
func (f *facts) othersPass() bool {
	return slices.ContainsFunc(f.unrelated, (*peer).public)
}

// spared reports whether nothing shows that the proxy makes certificates for
// others than the target.
func (f *facts) sparesOthers() bool {
	return f.othersPass() && f.product() == ""
}

// split reports whether the target may have a server of its own behind the proxy,
// which is not the one that is met without it (split DNS), rather than somebody
// before it.
func (f *facts) splitDNS() bool { return f.prepared() && f.sparesOthers() }

// sameWithout and otherWithout report whether the target has the same key
// without the proxy, or a certificate of another maker's.
func (f *facts) sameKeyDirect() bool {
	return f.direct.hasChain() && tunnel.PinOf(f.direct.leaf()) == tunnel.PinOf(f.target.leaf())
}

func (f *facts) otherIssuerDirect() bool {
	return f.direct.hasChain() && !sameIssuer(f.direct, f.target)
}

// minted reports whether there was a certificate at once for a name that nobody
// can have prepared for.
func (f *facts) minted() bool {
	return f.invented.hasChain() && f.invented.nameError == nil && sameIssuer(f.invented, f.target)
}

// kept reports whether the target shows the same certificate under a name that
// cannot exist.
func (f *facts) prepared() bool {
	return f.invented.hasChain() && f.invented.leaf().Equal(f.target.leaf())
}
