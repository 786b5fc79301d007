// Package interception finds out who speaks TLS at the end of a tunnel: the target,
// or an interceptor with certificates of its own. It makes further handshakes
// through the same proxies and without them, weighs what their peers show, and
// returns the verdict with the evidence for it.
//
// It reads no flags and prints nothing; package explain, which puts errors into
// sentences, is handed in as a function.
package interception

import (
	"crypto/x509"
	"time"

	"culvert/tunnel"
)

// How long the further handshakes may take, if Check.Patience does not say: twice
// as long as the first one, within these bounds.
const (
	defaultPatience = 3 * time.Second
	maxPatience     = 15 * time.Second
	publicPatience  = time.Second // for the direct handshake with a target that has a public certificate
)

// defaultUnrelated lists hosts of three foundations that do not depend on each
// other. Two that are not the target are used.
var defaultUnrelated = []string{"www.iana.org:443", "www.wikipedia.org:443", "www.gnu.org:443"}

// A Check finds out whether TLS inside a tunnel ends at the target, or at an
// interceptor that makes certificates of its own. It compares the target's
// certificate with those that other handshakes show.
//
// An interceptor on both ways, through the proxies and without them, that makes
// certificates for the target alone is not found. Nor can an interceptor be told
// from a target that makes certificates for any name, where there is no other peer
// to compare with.
type Check struct {
	// NoDirect leaves out the handshake with the target that goes through no proxy.
	NoDirect bool

	// Unrelated lists hosts to ask for through the proxies as well, if the target's
	// certificate is not from a public authority; nil = two of www.iana.org,
	// www.wikipedia.org and www.gnu.org, at port 443; empty = none. The target
	// itself is left out.
	Unrelated []tunnel.Authority

	// Public holds the authorities that browsers trust; nil = those that come with
	// culvert.
	Public *x509.CertPool

	// Patience bounds the further handshakes, which run concurrently; 0 = twice as
	// long as the first one took, but at least 3 and at most 15 seconds. The
	// handshake without the proxies takes no longer than 3 seconds, and no longer
	// than one if the target has a public certificate.
	Patience time.Duration

	// Explain puts the failure of a further handshake into a sentence; nil = the
	// error's own words.
	Explain func(error) string
}

// Times says how long the opening of a tunnel took, and those steps that show how
// far away its ends are. A step whose time is not known is zero.
type Times struct {
	Opening   time.Duration // from the start to the end of the TLS handshake with the target
	Proxy     time.Duration // connecting to the proxy, if there is only one
	Reply     time.Duration // from the CONNECT request to the proxy's answer
	Handshake time.Duration // of TLS 1.3 with the target, one round trip
}

// Verdict says where TLS ends.
type Verdict string

// The verdicts.
const (
	EndToEnd    Verdict = "end to end"  // at the target
	Intercepted Verdict = "intercepted" // at an interceptor
	Unknown     Verdict = "cannot tell"
)

// Result says whether an interceptor speaks TLS in the target's place, and on what
// evidence.
type Result struct {
	Verdict  Verdict    `json:"verdict"`
	By       string     `json:"by,omitempty"` // who made the certificate, if intercepted
	Evidence []Evidence `json:"evidence"`
	Hint     string     `json:"hint,omitempty"`
}

// Evidence is one observation.
type Evidence struct {
	ID       string  `json:"id"`
	Says     Verdict `json:"says"`     // what it supports; Unknown = neither
	Decisive bool    `json:"decisive"` // it settles the question, unless decisive evidence supports Intercepted
	Text     string  `json:"text"`
}
