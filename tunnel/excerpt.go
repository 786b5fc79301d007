package tunnel

import (
	"bytes"
	"html"
	"slices"
	"strings"
	"unicode"

	"culvert/tunnel/internal/wire"
)

// Limits on the authentication schemes taken from one reply.
const (
	maxSchemes      = 16
	maxSchemeLength = 40
)

// challengeSchemes returns the authentication schemes of challenge fields, in
// order and once each (RFC 9110, section 11.6.1). They are tokens, and so need
// no escaping.
func challengeSchemes(values []string) []string {
	var schemes []string
	for _, value := range values {
		for _, part := range splitOutsideQuotes(value) {
			scheme, ok := challengeScheme(strings.Trim(part, " \t"))
			same := func(have string) bool { return strings.EqualFold(have, scheme) }
			if ok && len(schemes) < maxSchemes && !slices.ContainsFunc(schemes, same) {
				schemes = append(schemes, scheme)
			}
		}
	}
	return schemes
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

// excerptText makes one line of the proxy's own words of a refusal's content:
// HTML is reduced to its text, white space to single spaces. It is not escaped.
func excerptText(body []byte, contentType string) string {
	s := string(body)
	if strings.Contains(strings.ToLower(contentType), "html") || strings.HasPrefix(strings.TrimSpace(s), "<") {
		s = html.UnescapeString(htmlText(s))
	}
	return strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ")
}

// htmlText drops tags and comments, and whole elements that hold no words for
// a reader: the title too, which on error pages only repeats the heading.
func htmlText(s string) string {
	var b strings.Builder
	for {
		text, rest, ok := strings.Cut(s, "<")
		b.WriteString(text)
		if !ok {
			return b.String()
		}
		b.WriteByte(' ')
		if comment, found := strings.CutPrefix(rest, "!--"); found {
			_, s, _ = strings.Cut(comment, "-->")
			continue
		}
		tag, after, _ := strings.Cut(rest, ">")
		s = after
		name, _, _ := strings.Cut(strings.ToLower(tag), " ")
		switch name {
		case "style", "script", "title", "head":
			s = afterElement(s, name)
		}
	}
}

// afterElement returns what follows the closing tag of name.
func afterElement(s, name string) string {
	i := strings.Index(strings.ToLower(s), "</"+name)
	if i < 0 {
		return ""
	}
	_, after, _ := strings.Cut(s[i:], ">")
	return after
}

// EscapeLine returns one line of a head without its line end, for a terminal:
// what is not printable ASCII is escaped, a CR before the LF only if it stands
// anywhere else, and what passes a kilobyte is cut.
func EscapeLine(line []byte) string {
	return wire.Escape(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), 1<<10)
}
