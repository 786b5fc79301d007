package tunnel

import (
	"crypto/tls"
	"fmt"

	"culvert/tunnel/internal/certwords"
	"culvert/tunnel/internal/wire"
)

// ExplainTLS tells of a handshake in lines for a person: version, cipher, ALPN, and
// the certificate, or why there is no TLS. They hold no control character.
func ExplainTLS(h *TLSHandshake) []string {
	if h.Err != nil {
		sentence, _ := Explain(h.Err)
		return []string{sentence}
	}
	leaf := h.State.PeerCertificates[0]
	return []string{
		fmt.Sprintf("TLS with %s: %s, %s, %s; verified by %s", h.Peer(), tls.VersionName(h.State.Version),
			tls.CipherSuiteName(h.State.CipherSuite), certwords.ALPN(wire.Escape([]byte(h.State.NegotiatedProtocol), maxShown)), h.Verified()),
		fmt.Sprintf("its certificate: %s, %s", certwords.Certificate(leaf), certwords.Days(certwords.DaysLeft(leaf, h.Started))),
	}
}
