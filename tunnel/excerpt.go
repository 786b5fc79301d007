package tunnel

import (
	"html"
	"strings"
	"unicode"
)

// challengeSchemes returns the authentication schemes of challenge fields, in
// order and once each (RFC 9110, section 11.6.1).
func challengeSchemes(values []string) []string {
	var schemes []string
	seen := map[string]bool{}
	for _, value := range values {
		for _, part := range splitOutsideQuotes(value) {
			// "scheme", "scheme param=…" or "scheme token68"; a further
			// parameter of the challenge before is "name=…" with no space.
			scheme, rest, _ := strings.Cut(strings.TrimSpace(part), " ")
			parameter := strings.Contains(scheme, "=") || strings.HasPrefix(strings.TrimSpace(rest), "=")
			if key := strings.ToLower(scheme); scheme != "" && !parameter && !seen[key] && len(schemes) < 16 {
				seen[key] = true
				schemes = append(schemes, scheme)
			}
		}
	}
	return schemes
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
