package tunnel

import (
	"crypto/tls"
	"fmt"

	"culvert/tunnel/internal/certwords"
	"culvert/tunnel/internal/wire"
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
			tls.CipherSuiteName(h.State.CipherSuite), certwords.ALPN(wire.Escape([]byte(h.State.NegotiatedProtocol), maxShown)), h.verified()),
		fmt.Sprintf("its certificate: %s, %s", certwords.Certificate(leaf), certwords.Days(certwords.DaysLeft(leaf, h.Started))),
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

// What the trust in a peer rests on.
const (
	verifiedChain   = "the chain and the name"
	verifiedPinned  = "the chain, the name and the pinned key"
	verifiedPin     = "the pinned key alone"
	verifiedNothing = "nothing"
)
