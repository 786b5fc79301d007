package tunnel

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Pin is the SHA-256 hash of a certificate's public key: of its
// SubjectPublicKeyInfo (RFC 7469, section 2.4).
type Pin [sha256.Size]byte

// pinPrefix names the hash in the form that curl uses.
const pinPrefix = "sha256//"

// PinOf returns the pin of the key of a certificate.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// String returns the pin in the form of curl's --pinnedpubkey: sha256//BASE64.
func (p Pin) String() string { return pinPrefix + base64.StdEncoding.EncodeToString(p[:]) }

// ParsePin parses the form that String returns.
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
