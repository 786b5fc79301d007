package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"culvert/tunnel"
)

// selfSignedFor is how long a certificate made by SelfSigned is valid.
const selfSignedFor = 365 * 24 * time.Hour

// SelfSigned makes a certificate and its key, in memory only, for trying things
// out: for localhost, 127.0.0.1, ::1, this machine's name, and the hosts given,
// of which those that are empty or unspecified addresses are left out. No
// client trusts it unless told to by the pin: the SHA-256 of its public key, as
// curl's --proxy-pinnedpubkey takes it.
func SelfSigned(hosts ...string) (pair tls.Certificate, pin string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return pair, "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "culvert self-signed"},
		// A clock may be a little behind.
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(selfSignedFor),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	own, _ := os.Hostname() // without a name it goes without
	for _, host := range append([]string{"localhost", "127.0.0.1", "::1", own}, hosts...) {
		addName(template, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return pair, "", err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return pair, "", err
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	pin = "sha256//" + base64.StdEncoding.EncodeToString(sum[:])
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pin, nil
}

// addName adds a host to the names of a certificate, once.
func addName(template *x509.Certificate, host string) {
	ip := net.ParseIP(host)
	switch {
	case host == "", ip != nil && ip.IsUnspecified():
	case ip != nil:
		if !slices.ContainsFunc(template.IPAddresses, ip.Equal) {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	case !slices.Contains(template.DNSNames, host) && tunnel.CheckHostName(host) == nil:
		template.DNSNames = append(template.DNSNames, host)
	}
}
