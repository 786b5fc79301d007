package client

import (
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
)

// Limits on the challenges that are taken from one reply.
const (
	maxSchemes      = 16
	maxSchemeLength = 40
)

// challenge is an authentication challenge (RFC 9110, section 11.3).
type challenge struct {
	scheme string // a token, in the proxy's spelling
	rest   string // a token68, or parameters joined by commas; "" = none
}

// is reports whether the challenge is for the given scheme, ignoring case.
func (c challenge) is(scheme string) bool { return strings.EqualFold(c.scheme, scheme) }

// parseChallenges parses the values of challenge fields, each of which may hold
// several challenges (RFC 9110, section 11.6.1). It skips what belongs to no scheme,
// and everything after the first maxSchemes challenges.
func parseChallenges(values []string) []challenge {
	var all []challenge
	for _, value := range values {
		first := len(all)
		for _, part := range splitOutsideQuotes(value) {
			part = strings.Trim(part, " \t")
			scheme, ok := challengeScheme(part)
			switch {
			case ok && len(all) == maxSchemes:
				return all
			case ok:
				all = append(all, challenge{scheme, strings.Trim(part[len(scheme):], " \t")})
			case part != "" && len(all) > first:
				last := &all[len(all)-1]
				last.rest = strings.TrimPrefix(last.rest+", "+part, ", ")
			}
		}
	}
	return all
}

// ChallengeSchemes returns the authentication schemes in the values of challenge
// fields (RFC 9110, section 11.6.1), in order and without duplicates. Each is a token,
// and so needs no escaping.
func ChallengeSchemes(values []string) []string { return schemesOf(parseChallenges(values)) }

// schemesOf returns the schemes of the challenges, in order and without duplicates.
func schemesOf(all []challenge) []string {
	var schemes []string
	for _, c := range all {
		if !slices.ContainsFunc(schemes, c.is) {
			schemes = append(schemes, c.scheme)
		}
	}
	return schemes
}

// challenges returns the challenges in a reply. They may be those of a 401, which
// some proxies send instead of a 407.
func challenges(reply *wire.Reply) []challenge {
	return parseChallenges(append(reply.Values("Proxy-Authenticate"), reply.Values("WWW-Authenticate")...))
}

// challengeScheme returns the scheme that an element of a challenge list begins
// with: "scheme", "scheme param=…" or "scheme token68". It returns false if the
// element is a further parameter of the challenge before it: "name=…" or "name = …".
func challengeScheme(element string) (string, bool) {
	scheme, rest := element, ""
	if i := strings.IndexAny(element, " \t"); i >= 0 {
		scheme, rest = element[:i], strings.TrimLeft(element[i:], " \t")
	}
	ok := wire.IsToken(scheme) && len(scheme) <= maxSchemeLength && !strings.HasPrefix(rest, "=")
	return scheme, ok
}

// splitOutsideQuotes splits s at the commas that are not in a quoted string.
func splitOutsideQuotes(s string) []string {
	var parts []string
	quoted, start := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
