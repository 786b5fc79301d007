package interception

import (
	"crypto/x509"
	"time"

	"culvert/tunnel"
)

// DefaultPatience bounds the further handshakes of an
// Check. Where the first one was slow they have twice its time, within
// bounds.
const (
	defaultPatience = 3 * time.Second
	maxPatience     = 15 * time.Second
	publicPatience  = time.Second // where the target's certificate is a public one
)

// DefaultUnrelated are the names whose certificates are compared with the
// target's: of three foundations that do not depend on each other. Two are
// taken that are not the target itself.
var defaultUnrelated = []string{"www.iana.org:443", "www.wikipedia.org:443", "www.gnu.org:443"}

// Check is how a Prober finds out whether TLS inside the tunnel ends
// at the target, or at somebody in the middle who makes certificates of their
// own. Beside the target's certificate it looks at what others are shown.
// Somebody who is before both ways, and makes certificates for the target alone,
// is not seen; nor is one in the middle told from a target that makes certificates
// for any name, where there is nobody to compare with.
type Check struct {
	// NoDirect leaves out the handshake with the target that goes through no
	// proxy.
	NoDirect bool

	// Unrelated are asked for through the proxies as well, if the target's
	// certificate is from no public authority; nil = two of DefaultUnrelated,
	// empty = none. The target itself is left out.
	Unrelated []tunnel.Authority

	// Public are the authorities that the world trusts; nil = those that come
	// with culvert.
	Public *x509.CertPool

	// Patience bounds the further handshakes, which run at once; 0 =
	// DefaultPatience. That without the proxies takes no longer than
	// the default, and a second at most for a target with a public certificate.
	Patience time.Duration

	// Explain puts into a sentence why a further handshake failed; nil = the
	// error's own words.
	Explain func(error) string
}

// Times are how long the opening of a tunnel took, and parts of it that tell how
// far away its ends are. A part that is not known is zero.
type Times struct {
	Opening   time.Duration // from the start to the end of TLS with the target
	Proxy     time.Duration // connecting to the one proxy
	Reply     time.Duration // its answer to CONNECT
	Handshake time.Duration // TLS 1.3 with the target, one round trip
}

// Verdict says where TLS ends.
type Verdict string

// The verdicts.
const (
	EndToEnd    Verdict = "end to end"  // at the target
	Intercepted Verdict = "intercepted" // at somebody in the middle
	Unknown     Verdict = "cannot tell"
)

// Result is whether somebody in the middle speaks TLS in the target's
// place, and why that is believed.
type Result struct {
	Verdict  Verdict    `json:"verdict"`
	By       string     `json:"by,omitempty"` // who made the certificate, if intercepted
	Evidence []Evidence `json:"evidence"`
	Hint     string     `json:"hint,omitempty"`
}

// Evidence is one observation.
type Evidence struct {
	ID       string  `json:"id"`
	Says     Verdict `json:"says"`     // EndToEnd, Intercepted, or Unknown: it speaks for neither
	Decisive bool    `json:"decisive"` // it settles the question unless something decisive speaks for Intercepted
	Text     string  `json:"text"`
}
