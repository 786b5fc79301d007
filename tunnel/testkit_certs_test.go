package tunnel

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

var testCertificate = sync.OnceValue(func() tls.Certificate {
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

// certifier is a throw-away authority that makes certificates.
type certifier struct {
	testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newCertifier(tb testing.TB, name string) *certifier {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-10000 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
	c := &certifier{TB: tb, key: key, pool: x509.NewCertPool()}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	c.cert, _ = x509.ParseCertificate(der)
	c.pool.AddCert(c.cert)
	return c
}

// leaf is a certificate for the names, valid from an age ago to a time from now.
func (c *certifier) leaf(age, left time.Duration, names ...string) tls.Certificate {
	c.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-age), NotAfter: time.Now().Add(left)}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		c.Fatal(err)
	}
	parsed, _ := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}
}

const testAge = 100 * time.Hour // of a certificate that was there before

func (c *certifier) old(names ...string) tls.Certificate { return c.leaf(testAge, testAge, names...) }

// throwAway is a certificate for a name that its own authority, in pool, has
// signed, and that is valid for so long from now on.
func throwAway(t *testing.T, name string, valid time.Duration) (pair tls.Certificate, pool *x509.CertPool) {
	t.Helper()
	authority := newCertifier(t, "authority")
	return authority.leaf(5000*time.Hour-valid, valid, name), authority.pool
}
