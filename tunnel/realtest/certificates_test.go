//go:build unix

package realtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// This file makes certificates, and has serve show them.

// certified is a certificate and its key, in memory and as PEM files.
type certified struct {
	leaf      *x509.Certificate
	key       *ecdsa.PrivateKey
	cert, pem string // the files of the certificate and of the key
}

// issue makes a certificate that by signs; a nil by is a new authority's own.
func issue(t testing.TB, by *certified, name string, until time.Time) *certified {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, BasicConstraintsValid: true, IsCA: by == nil,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.leaf, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c := &certified{key: key}
	c.leaf, _ = x509.ParseCertificate(der)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c.cert = write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	c.pem = write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return c
}

func (c *certified) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.cert, c.pem)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

// secureServe is culvert serve with an https listener whose certificate an
// authority of the test's own has signed.
type secureServe struct {
	authority, own *certified
	address        string // of the https listener
	plain          string // of an http one
	log            *lockedBuffer
}

func startSecureServe(t testing.TB, arg ...string) *secureServe {
	t.Helper()
	s := &secureServe{authority: issue(t, nil, "the test's authority", tomorrow())}
	s.own = issue(t, s.authority, "proxy", tomorrow())
	s.plain, s.log = serveWith(t, append([]string{"--listen", "https://127.0.0.1:0", "--allow", "*:*",
		"--tls-cert", s.own.cert, "--tls-key", s.own.pem}, arg...)...)
	s.address = secureAddress(t, s.log)
	return s
}

// secureAddress is where a serve's https listener listens.
func secureAddress(t testing.TB, log *lockedBuffer) string {
	t.Helper()
	return announced(t, log, "listening on https://")
}

// logs waits for a line of the log that holds all of the pieces.
func (s *secureServe) logs(t *testing.T, pieces ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the log has %q", pieces), func() bool {
		for line := range strings.Lines(s.log.String()) {
			has := true
			for _, p := range pieces {
				has = has && strings.Contains(line, p)
			}
			if has {
				return true
			}
		}
		return false
	})
}
