package interception

import (
	"crypto/x509"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// publicRoots are the authorities that browsers trust, as they come with
// culvert: what a machine's owner, or an employer, has added to the system's is
// not among them. They are parsed when they are needed first.
var publicRoots = sync.OnceValue(func() *x509.CertPool {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		c, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil: // unknown to this version of Go: a chain to it is not public, then
		case root.Constraint != nil:
			pool.AddCertWithConstraint(c, root.Constraint)
		default:
			pool.AddCert(c)
		}
	}
	return pool
})
