package probe

import (
	"strings"

	"culvert/tunnel/internal/certwords"
)

// maxChainShown bounds the certificates of a chain in the text.
const maxChainShown = 5

// tls adds the TLS handshakes that came right before an exchange.
func (t *reportText) tls(r *Report, before int) {
	for _, h := range r.TLS {
		if h.Before != before {
			continue
		}
		what := "TLS with " + h.Peer
		if h.Inside {
			what = "TLS inside the tunnel with " + h.Peer
		}
		switch {
		case h.Version == "":
			t.printf("%s: %s", what, t.Bad.Paint("none: "+h.cause()))
			continue
		case h.Error != "":
			t.printf("%s: %s, %s", what, h.Version, t.Bad.Paint("but "+h.cause()))
		default:
			t.printf("%s: %s, %s, %s; verified by %s", what, h.Version, h.Cipher, certwords.ALPN(h.ALPN), h.Verified)
		}
		for i, c := range h.Chain {
			t.certificate(i, c)
		}
	}
}

// cause says why there is no TLS, without naming the peer.
func (r *TLSHandshake) cause() string {
	if _, cause, ok := strings.Cut(r.Error, ": "); ok && strings.HasPrefix(r.Error, "no TLS with ") {
		return cause
	}
	return r.Error
}

func (t *reportText) certificate(i int, c Certificate) {
	if i == maxChainShown {
		t.printf("  further certificates are not shown here: --json has them")
	}
	if i >= maxChainShown {
		return
	}
	names := ""
	if i == 0 {
		names = ", for " + certwords.List(c.Names)
	}
	t.printf("  certificate %d: %s%s", i, certwords.Subject(c.Subject), names)
	t.printf("    issuer %s, %s to %s, %s", certwords.Subject(c.Issuer), certwords.Date(c.NotBefore), certwords.Date(c.NotAfter), certwords.Days(c.DaysLeft))
	if i == 0 {
		t.printf("    pin %s", c.Pin)
	}
}
