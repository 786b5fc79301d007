package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"culvert/tunnel"
)

// selfSignedFor is how long a certificate of SelfSigned is valid.
const selfSignedFor = 365 * 24 * time.Hour

// SelfSigned makes a certificate and its key in memory, for trying things out. Its
// names are localhost, 127.0.0.1, ::1, the name of this machine and the hosts, except
// for hosts that are empty or unspecified addresses. Clients do not trust it unless
// they are given the pin, which has the form of tunnel.Pin, or the certificate itself.
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
		// The clock of a client may be a little behind.
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(selfSignedFor),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	own, _ := os.Hostname() // without it the certificate lacks that name
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
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, tunnel.PinOf(leaf).String(), nil
}

// addName adds a host to the names of a certificate unless it is there already.
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
