package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"culvert/tunnel/internal/wire"
	"fmt"
	"time"
)

// Words tells of the handshake in lines for a person: version, cipher, ALPN, and
// the certificate, or why there is no TLS. They hold no control character.
func (h *TLSHandshake) Words() []string {
	if h.Err != nil {
		sentence, _ := Explain(h.Err)
		return []string{sentence}
	}
	leaf := h.State.PeerCertificates[0]
	return []string{
		fmt.Sprintf("TLS with %s: %s, %s, %s; verified by %s", h.Peer(), tls.VersionName(h.State.Version),
			tls.CipherSuiteName(h.State.CipherSuite), alpnWords(wire.Escape([]byte(h.State.NegotiatedProtocol), maxShown)), h.verified()),
		fmt.Sprintf("its certificate: %s, %s", describeCertificate(leaf), daysWords(daysLeft(leaf, h.Started))),
	}
}

func (h *TLSHandshake) verified() string {
	switch {
	case h.Err != nil, h.Insecure && !h.Pinned:
		return verifiedNothing
	case h.Insecure:
		return verifiedPin
	case h.Pinned:
		return verifiedPinned
	}
	return verifiedChain
}

const verifiedChain = "the chain and the name"

const verifiedPinned = "the chain, the name and the pinned key"

const verifiedPin = "the pinned key alone"

const verifiedNothing = "nothing"

func alpnWords(protocol string) string {
	if protocol == "" {
		return "no ALPN"
	}
	return "ALPN " + protocol
}

func daysWords(left int) string {
	switch {
	case left < 0:
		return fmt.Sprintf("expired %d days ago", -left)
	case left == 1:
		return "1 day left"
	}
	return fmt.Sprintf("%d days left", left)
}

// daysLeft is whole days, rounded down: -1 on the day after the last.
func daysLeft(c *x509.Certificate, now time.Time) int {
	left := c.NotAfter.Sub(now)
	days := int(left / (24 * time.Hour))
	if left < 0 {
		days--
	}
	return days
}
