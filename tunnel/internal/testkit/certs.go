package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"
)

// TestCertificate returns a self-signed certificate without names, the same one each time.
var TestCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// Certifier is a certificate authority for one test.
type Certifier struct {
	testing.TB
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
	Pool *x509.CertPool // holds Cert
}

// NewCertifier returns a certificate authority of this name.
func NewCertifier(tb testing.TB, name string) *Certifier {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-10000 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
	c := &Certifier{TB: tb, Key: key, Pool: x509.NewCertPool()}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	c.Cert, _ = x509.ParseCertificate(der)
	c.Pool.AddCert(c.Cert)
	return c
}

// Leaf returns a certificate for the names, valid since age ago and for left from now on.
// Either may be negative.
func (c *Certifier) Leaf(age, left time.Duration, names ...string) tls.Certificate {
	c.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-age), NotAfter: time.Now().Add(left)}
	der, err := x509.CreateCertificate(rand.Reader, template, c.Cert, key.Public(), c.Key)
	if err != nil {
		c.Fatal(err)
	}
	parsed, _ := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}
}

// CertificateAge is the age of a certificate that is no longer new, and the time that it
// is still valid.
const CertificateAge = 100 * time.Hour

// Old returns a certificate for the names that is no longer new.
func (c *Certifier) Old(names ...string) tls.Certificate {
	return c.Leaf(CertificateAge, CertificateAge, names...)
}

// CertificateFor returns a certificate for a name, which is valid for the given time from
// now on, and a pool with the authority that has signed it.
func CertificateFor(t *testing.T, name string, valid time.Duration) (pair tls.Certificate, pool *x509.CertPool) {
	t.Helper()
	authority := NewCertifier(t, "authority")
	return authority.Leaf(5000*time.Hour-valid, valid, name), authority.Pool
}
