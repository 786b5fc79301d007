package tunnel

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Pin is the SHA-256 of a certificate's public key (its SubjectPublicKeyInfo,
// RFC 7469, section 2.4).
type Pin [sha256.Size]byte

// pinPrefix is how curl writes what kind of pin it is.
const pinPrefix = "sha256//"

// PinOf returns the pin of a certificate's key.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// String returns the pin as curl's --pinnedpubkey has it: sha256//BASE64.
func (p Pin) String() string { return pinPrefix + base64.StdEncoding.EncodeToString(p[:]) }

// ParsePin parses sha256//BASE64.
func ParsePin(s string) (p Pin, err error) {
	text, ok := strings.CutPrefix(s, pinPrefix)
	if !ok {
		return p, errors.New("a pin begins with " + pinPrefix)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != len(p) {
		return p, fmt.Errorf("behind %s stand %d bytes in base64", pinPrefix, len(p))
	}
	return Pin(b), nil
}

// ReadRoots reads a file of authorities' certificates in PEM.
func ReadRoots(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in PEM in it", path)
	}
	return pool, nil
}

// ReadCertificate reads a certificate, with what leads up to its authority, and
// its private key, in PEM. They may be in one file. exposed reports that others
// than the key's owner may read it.
func ReadCertificate(certPath, keyPath string) (c *tls.Certificate, exposed bool, err error) {
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		if _, missing := errors.AsType[*os.PathError](err); missing {
			return nil, false, err
		}
		return nil, false, fmt.Errorf("%s: %s", certPath, strings.TrimPrefix(err.Error(), "tls: "))
	}
	info, err := os.Stat(keyPath)
	return &pair, err == nil && ReadableByOthers(info), nil
}

// TLSOptions are how a Client speaks TLS with one other side: a proxy (Hop.TLS)
// or the target (Client.TLS). The zero TLSOptions verify as a browser does, by
// the system's authorities and the name that was asked for. TLS 1.2 is the
// oldest version spoken.
type TLSOptions struct {
	Roots       *x509.CertPool   // authorities to trust; nil = the system's
	Certificate *tls.Certificate // ours, for who asks for one; nil = none
	ServerName  string           // sent, and verified; "" = the host connected to
	Protocols   []string         // ALPN, the target's only: a proxy is spoken to in what culvert knows
	Pins        []Pin            // the certificate's key must be one of them; nil = any

	// Insecure trusts any certificate. Pins still decide where there are some.
	Insecure bool
}
