package probe

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/certwords"
)

// TLSHandshake is one TLS handshake. If no certificate came, Chain is empty and Error
// says why.
type TLSHandshake struct {
	Peer        string        `json:"peer"`          // HOST:PORT
	Inside      bool          `json:"inside"`        // with the target in the tunnel, not with a proxy
	ServerName  string        `json:"server_name"`   // the name to verify; sent unless it is an address
	Before      int           `json:"before"`        // the index in Report.Exchanges of the exchange that followed
	Version     string        `json:"version"`       // as "TLS 1.3"
	Cipher      string        `json:"cipher_suite"`  // IANA's name
	ALPN        string        `json:"alpn"`          // "" = none negotiated
	Verified    string        `json:"verified"`      // by what the peer was verified; "nothing" under insecure
	Certificate bool          `json:"client_wanted"` // the peer asked for a client certificate
	Chain       []Certificate `json:"chain"`         // as sent, the peer's own certificate first
	Error       string        `json:"error,omitempty"`
}

// Certificate is one certificate of a chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names,omitempty"` // hosts and addresses
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	DaysLeft  int       `json:"days_left"` // whole days; negative = expired
	Pin       string    `json:"pin"`       // of its key, for --pin
}

func (s *session) tlsReport(h recordedTLS) TLSHandshake {
	r := TLSHandshake{
		Peer: s.shown(h.Peer()), Inside: h.Inside(), ServerName: s.shown(h.ServerName), Before: h.before,
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
