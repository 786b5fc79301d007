// Package certwords describes certificates, and what TLS handshakes negotiated, in
// words for people. Nothing that it returns contains a control character, whatever
// a peer sent. It verifies nothing.
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
	maxHosts   = 5   // hosts of a certificate that are listed
	maxHost    = 80  // characters of one host
	maxSubject = 120 // characters of a subject or an issuer
	maxCause   = 200 // characters of an error
)

// Certificate describes a certificate by its subject, issuer and dates.
func Certificate(c *x509.Certificate) string {
	return "subject " + Subject(c.Subject.String()) + ", issuer " + Subject(c.Issuer.String()) +
		", valid from " + Date(c.NotBefore) + " to " + Date(c.NotAfter)
}

// Subject returns the distinguished name of a subject or an issuer, "none" if it is
// empty.
func Subject(name string) string {
	if name == "" {
		return "none"
	}
	return wire.Escape([]byte(name), maxSubject)
}

// Date returns the day of t in UTC.
func Date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Hosts returns the names and addresses that a certificate is valid for. The
// subject's common name is not among them (RFC 9525, section 6.1).
func Hosts(c *x509.Certificate) (hosts []string) {
	for _, n := range c.DNSNames {
		hosts = append(hosts, wire.Escape([]byte(n), maxHost))
	}
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

// List lists hosts on one line: the first ones, and how many more there are.
func List(hosts []string) string {
	if len(hosts) == 0 {
		return "no host at all"
	}
	if more := len(hosts) - maxHosts; more > 0 {
		hosts = append(slices.Clone(hosts[:maxHosts]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(hosts, ", ")
}

// Cause returns an error of crypto/x509 without its prefix.
func Cause(err error) string {
	return wire.Escape([]byte(strings.TrimPrefix(err.Error(), "x509: ")), maxCause)
}

// DaysLeft returns the whole days until a certificate expires, rounded down: -1
// during the first day after.
func DaysLeft(c *x509.Certificate, now time.Time) int {
	left := c.NotAfter.Sub(now)
	days := int(left / (24 * time.Hour))
	if left < 0 {
		days--
	}
	return days
}

// Days puts the result of DaysLeft into words.
func Days(left int) string {
	switch {
	case left < 0:
		return fmt.Sprintf("expired %d days ago", -left)
	case left == 1:
		return "1 day left"
	}
	return fmt.Sprintf("%d days left", left)
}

// ALPN describes the protocol that a handshake negotiated, "" if none. protocol
// must be escaped.
func ALPN(protocol string) string {
	if protocol == "" {
		return "no ALPN"
	}
	return "ALPN " + protocol
}
