package client

import (
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
)

// Limits on the challenges taken from one reply.
const (
	maxSchemes      = 16
	maxSchemeLength = 40
)

// challenge is an authentication scheme and what is offered with it (RFC 9110,
// section 11.3).
type challenge struct {
	scheme string // a token, as it came
	rest   string // a token68, or parameters joined by commas; "" = nothing
}

// is reports whether the challenge is one of a scheme, in any case.
func (c challenge) is(scheme string) bool { return strings.EqualFold(c.scheme, scheme) }

// parseChallenges takes challenge fields apart (RFC 9110, section 11.6.1): there
// may be several in one, and several fields. What belongs to no scheme is left
// out, and so is all behind the first maxSchemes.
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

// ChallengeSchemes returns the schemes that the values of challenge fields offer
// (RFC 9110, section 11.6.1), in order and once each. They are tokens.
func ChallengeSchemes(values []string) []string { return schemesOf(parseChallenges(values)) }

// schemesOf are the challenges' schemes, in order and once each. They are tokens,
// and so need no escaping.
func schemesOf(all []challenge) []string {
	var schemes []string
	for _, c := range all {
		if !slices.ContainsFunc(schemes, c.is) {
			schemes = append(schemes, c.scheme)
		}
	}
	return schemes
}

// challenges are those of a reply: of a 401 too, which some proxies send in a
// 407's stead.
func challenges(reply *wire.Reply) []challenge {
	return parseChallenges(append(reply.Values("Proxy-Authenticate"), reply.Values("WWW-Authenticate")...))
}

// challengeScheme returns the scheme that an element of a challenge list opens
// with: "scheme", "scheme param=…" or "scheme token68". An element may also be
// a further parameter of the challenge before, "name=…" or "name = …".
func challengeScheme(element string) (string, bool) {
	scheme, rest := element, ""
	if i := strings.IndexAny(element, " \t"); i >= 0 {
		scheme, rest = element[:i], strings.TrimLeft(element[i:], " \t")
	}
	ok := wire.IsToken(scheme) && len(scheme) <= maxSchemeLength && !strings.HasPrefix(rest, "=")
	return scheme, ok
}

// splitOutsideQuotes splits at the commas that stand in no quoted string.
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
