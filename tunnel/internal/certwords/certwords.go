// Package certwords describes certificates, and what TLS handshakes agreed on, in
// words for a person. Nothing that it returns holds a control character, whatever
// the other side sent.
package certwords

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"culvert/tunnel/internal/wire"
)

const (
	maxHosts   = 5   // hosts of a certificate that a sentence lists
	maxHost    = 80  // characters of one
	maxSubject = 120 // characters of a subject or an issuer
	maxCause   = 200 // characters of an error
)

// Certificate is a certificate's subject, issuer and dates.
func Certificate(c *x509.Certificate) string {
	return "subject " + Subject(c.Subject.String()) + ", issuer " + Subject(c.Issuer.String()) +
		", valid from " + Date(c.NotBefore) + " to " + Date(c.NotAfter)
}

// Subject is the distinguished name of a subject or an issuer, "none" if it is
// empty.
func Subject(name string) string {
	if name == "" {
		return "none"
	}
	return wire.Escape([]byte(name), maxSubject)
}

// Date is a day in UTC.
func Date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Hosts are the names and addresses that a certificate is for: those that count
// (RFC 9525, section 6.1), and so not its subject's.
func Hosts(c *x509.Certificate) (hosts []string) {
	for _, n := range c.DNSNames {
		hosts = append(hosts, wire.Escape([]byte(n), maxHost))
	}
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

// List is a list of hosts on one line: the first of them, and how many more there
// are.
func List(hosts []string) string {
	if len(hosts) == 0 {
		return "no host at all"
	}
	if more := len(hosts) - maxHosts; more > 0 {
		hosts = append(slices.Clone(hosts[:maxHosts]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(hosts, ", ")
}

// Cause is why a certificate is not valid or not trusted, as crypto/x509 has it.
func Cause(err error) string {
	return wire.Escape([]byte(strings.TrimPrefix(err.Error(), "x509: ")), maxCause)
}

// DaysLeft returns the whole days until a certificate expires, rounded down: -1
// within the first day after.
func DaysLeft(c *x509.Certificate, now time.Time) int {
	left := c.NotAfter.Sub(now)
	days := int(left / (24 * time.Hour))
	if left < 0 {
		days--
	}
	return days
}

// Days is what DaysLeft returned.
func Days(left int) string {
	switch {
	case left < 0:
		return fmt.Sprintf("expired %d days ago", -left)
	case left == 1:
		return "1 day left"
	}
	return fmt.Sprintf("%d days left", left)
}

// ALPN is the protocol that a handshake negotiated, which is escaped already; "" =
// none.
func ALPN(protocol string) string {
	if protocol == "" {
		return "no ALPN"
	}
	return "ALPN " + protocol
}
