package probe

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/certwords"
)

// TLSReport is one TLS handshake. Where it came to no certificate, there is
// only the error.
type TLSReport struct {
	Peer        string        `json:"peer"`          // HOST:PORT
	Inside      bool          `json:"inside"`        // with the target in the tunnel, not with a proxy
	ServerName  string        `json:"server_name"`   // verified, and sent unless it is an address
	Before      int           `json:"before"`        // the index in Report.Exchanges of what came after it
	Version     string        `json:"version"`       // "TLS 1.3"
	Cipher      string        `json:"cipher_suite"`  // IANA's name
	ALPN        string        `json:"alpn"`          // "" = none negotiated
	Verified    string        `json:"verified"`      // what the trust rests on; "nothing" under insecure
	Certificate bool          `json:"client_wanted"` // a client certificate was asked for
	Chain       []Certificate `json:"chain"`         // as it was sent, the peer's own first
	Error       string        `json:"error,omitempty"`
}

// Certificate is one of a chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names,omitempty"` // hosts and addresses
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	DaysLeft  int       `json:"days_left"` // whole days; negative = expired
	Pin       string    `json:"pin"`       // of its key, for --pin
}

// maxChainShown bounds the certificates of a chain that text shows.
const maxChainShown = 5

func (s *session) tlsReport(h recordedTLS) TLSReport {
	r := TLSReport{
		Peer: s.shown(h.Peer()), Inside: h.Inside(), ServerName: s.shown(h.ServerName), Before: h.after,
		ALPN: s.shown(h.State.NegotiatedProtocol), Verified: h.Verified(), Certificate: h.Asked, Chain: []Certificate{},
	}
	if h.State.Version != 0 {
		r.Version, r.Cipher = tls.VersionName(h.State.Version), tls.CipherSuiteName(h.State.CipherSuite)
	}
	for _, c := range h.State.PeerCertificates {
		r.Chain = append(r.Chain, s.certificate(c))
	}
	if h.Err != nil {
		sentence, _ := explain.Error(h.Err) // escaped already
		r.Error = s.mask.Text(sentence)
	}
	return r
}

func (s *session) certificate(c *x509.Certificate) Certificate {
	names := certwords.Hosts(c)
	for i, name := range names {
		names[i] = s.mask.Text(name)
	}
	return Certificate{
		Subject: s.shown(c.Subject.String()), Issuer: s.shown(c.Issuer.String()), Names: names,
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), DaysLeft: certwords.DaysLeft(c, s.started), Pin: tunnel.PinOf(c).String(),
	}
}

// inside returns the target's handshake if there was one, and it succeeded.
func (s *session) inside() *client.TLSHandshake {
	if n := len(s.secured); n > 0 && s.secured[n-1].Inside() && s.secured[n-1].Err == nil {
		return s.secured[n-1].TLSHandshake
	}
	return nil
}

// tls adds the handshakes that came right before that exchange.
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
			t.say("%s: %s", what, t.Bad.Paint("none: "+h.cause()))
			continue
		case h.Error != "":
			t.say("%s: %s, %s", what, h.Version, t.Bad.Paint("but "+h.cause()))
		default:
			t.say("%s: %s, %s, %s; verified by %s", what, h.Version, h.Cipher, certwords.ALPN(h.ALPN), h.Verified)
		}
		for i, c := range h.Chain {
			t.certificate(i, c)
		}
	}
}

// cause is why there is no TLS, without who with.
func (r *TLSReport) cause() string {
	if _, cause, ok := strings.Cut(r.Error, ": "); ok && strings.HasPrefix(r.Error, "no TLS with ") {
		return cause
	}
	return r.Error
}

func (t *reportText) certificate(i int, c Certificate) {
	if i == maxChainShown {
		t.say("  further certificates are not shown here: --json has them")
	}
	if i >= maxChainShown {
		return
	}
	names := ""
	if i == 0 {
		names = ", for " + certwords.List(c.Names)
	}
	t.say("  certificate %d: %s%s", i, certwords.Subject(c.Subject), names)
	t.say("    issuer %s, %s to %s, %s", certwords.Subject(c.Issuer), certwords.Date(c.NotBefore), certwords.Date(c.NotAfter), certwords.Days(c.DaysLeft))
	if i == 0 {
		t.say("    pin %s", c.Pin)
	}
}
