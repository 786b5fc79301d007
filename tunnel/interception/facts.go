package interception

import (
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	"culvert/tunnel"
)

// shown is what a TLS handshake showed of its other end.
type shown struct {
	name       string              // that was asked for
	chain      []*x509.Certificate // as it was sent; empty = none came
	alpn       string
	tls        uint16 // the version
	trust      error  // why no public authority vouches for the chain; nil = one does
	nameError  error  // why the certificate is not for the name; nil = it is
	incomplete bool   // trust is by certificates that others sent
	expired    bool   // it is not valid now; trust is of when it was
	trusted    bool   // the system does, or those that the user named, for the name
	named      bool   // those that the user named do, for whatever name, or did before it expired
	failure    string // why there is no chain, in a sentence; "" = none came, and no more is known
}

func (s *shown) came() bool { return s != nil && len(s.chain) > 0 }

// leaf is the other end's own certificate; it came.
func (s *shown) leaf() *x509.Certificate { return s.chain[0] }

// public reports whether it is a public authority's certificate for the name.
func (s *shown) public() bool { return s.came() && s.trust == nil && s.nameError == nil }

// why says why there is no chain.
func (s *shown) why() string {
	return cmp.Or(s.failure, "none came")
}

// facts is all that a Check found out. What was not
// tried is nil.
type facts struct {
	target      *shown // through the proxies
	named       bool   // its chain leads to an authority that the user named
	pinned      bool   // its key is the one that the user named
	system      error  // why the system does not trust the chain; nil = it does
	direct      *shown // the target, through no proxy
	unrelated   []*shown
	nonexistent *shown // a host that cannot exist, through the proxies
	invented    *shown // the target by a server name that cannot exist, through the proxies
	now         time.Time
	times       Times
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
