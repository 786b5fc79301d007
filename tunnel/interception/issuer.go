package interception

import (
	"bytes"
	"crypto/x509"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// issuerOf names the signer of a certificate.
func issuerOf(c *x509.Certificate) string {
	if signedByItself(c) {
		return "itself"
	}
	issuer := c.Issuer
	name, org := issuer.CommonName, ""
	if len(issuer.Organization) > 0 {
		org = issuer.Organization[0]
	}
	switch {
	case name == "" && org == "":
		return "an authority without a name"
	case name == "":
		return quoted(org)
	case org == "" || org == name:
		return quoted(name)
	}
	return quoted(name) + " of " + quoted(org)
}

// quoted makes a certificate's name fit for a sentence.
func quoted(name string) string {
	return `"` + wire.Escape([]byte(strings.ReplaceAll(name, `"`, "'")), 80) + `"`
}

// sameIssuer reports whether one authority issued both certificates, or both have
// the same key, as with interceptors that use one key for all. Public authorities
// issue certificates to anybody, so they do not count; nor do the names in
// self-signed certificates, which programs fill in alike.
func sameIssuer(a, b *peer) bool {
	if !a.hasChain() || !b.hasChain() {
		return false
	}
	x, y := a.leaf(), b.leaf()
	switch {
	case tunnel.PinOf(x) == tunnel.PinOf(y):
		return true
	case a.publicError == nil, b.publicError == nil, signedByItself(x), signedByItself(y), x.Issuer.String() == "", !bytes.Equal(x.RawIssuer, y.RawIssuer):
		return false
	}
	return len(x.AuthorityKeyId) == 0 || len(y.AuthorityKeyId) == 0 || bytes.Equal(x.AuthorityKeyId, y.AuthorityKeyId)
}

// signedByItself reports whether a certificate is self-signed.
func signedByItself(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// products lists interceptors by a part of their authority's name, in lower case.
var products = [...]struct{ piece, product string }{
	{"mitmproxy", "mitmproxy"}, {"portswigger", "Burp"}, {"charles proxy", "Charles"}, {"do_not_trust_fiddler", "Fiddler"},
	{"zscaler", "Zscaler"}, {"netskope", "Netskope"}, {"goskope", "Netskope"}, {"fortinet", "FortiGate"}, {"fortigate", "FortiGate"},
	{"palo alto networks", "Palo Alto Networks"}, {"forcepoint", "Forcepoint"}, {"websense", "Forcepoint"}, {"blue coat", "Symantec ProxySG"},
	{"bluecoat", "Symantec ProxySG"}, {"cisco umbrella", "Cisco Umbrella"}, {"check point", "Check Point"}, {"sophos", "Sophos"},
	{"mcafee web gateway", "Skyhigh Secure Web Gateway"}, {"skyhigh", "Skyhigh Secure Web Gateway"}, {"barracuda", "Barracuda"},
	{"watchguard", "WatchGuard"}, {"sonicwall", "SonicWall"}, {"untangle", "Untangle"}, {"kaspersky", "Kaspersky"}, {"avast web", "Avast"},
	{"eset ssl filter", "ESET"}, {"bitdefender", "Bitdefender"}, {"adguard", "AdGuard"}, {"gateway ca - cloudflare", "Cloudflare Gateway"},
	{"iboss", "iboss"}, {"contentkeeper", "ContentKeeper"}, {"lightspeed", "Lightspeed"}, {"securly", "Securly"}, {"squid", "squid"}, {"cn=not trusted by ", "squid"}, {"privoxy", "Privoxy"},
}

// product returns the product whose authority is in the target's chain, or "".
func (f *facts) product() string {
	for _, c := range f.target.chain {
		name := strings.ToLower(c.Issuer.String())
		for _, p := range products {
			if strings.Contains(name, p.piece) {
				return p.product
			}
		}
	}
	return ""
}
