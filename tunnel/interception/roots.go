package interception

import (
	"crypto/x509"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// publicRoots returns the authorities that browsers trust, as they come with
// culvert: not those that the machine's owner, or an employer, has added to the
// system's. They are parsed on first use.
var publicRoots = sync.OnceValue(func() *x509.CertPool {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		c, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil: // unknown to this version of Go, so that no chain to it counts as public
		case root.Constraint != nil:
			pool.AddCertWithConstraint(c, root.Constraint)
		default:
			pool.AddCert(c)
		}
	}
	return pool
})
