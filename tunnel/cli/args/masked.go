package args

import "strings"

// HideUserinfo returns a message with "***" in place of the user name and the password of
// each URL in it.
func HideUserinfo(message string) string { return hideUserinfo(message, false) }

// hideUserinfo hides in each word what stands between "://" and the last @. If quotes is
// set it also hides, in quoted text, all that precedes the last @: this may be a URL
// that is malformed.
func hideUserinfo(message string, quotes bool) string {
	if !strings.Contains(message, "@") {
		return message
	}
	var b strings.Builder
	for rest := message; rest != ""; {
		if quotes && rest[0] == '"' {
			end := endOfQuote(rest)
			b.WriteByte('"')
			b.WriteString(hidden(rest[1:end]))
			rest = rest[end:]
			if rest != "" { // the closing quote
				b.WriteByte('"')
				rest = rest[1:]
			}
			continue
		}
		end := strings.IndexAny(rest[1:], " \t\n\"") + 1 // the rest begins with the separator before
		if end == 0 {
			end = len(rest)
		}
		word := rest[:end]
		if strings.Contains(word, "://") {
			word = hidden(word)
		}
		b.WriteString(word)
		rest = rest[end:]
	}
	return b.String()
}

// endOfQuote returns the index of the quote that ends the text that a quote begins, as
// %q writes it.
func endOfQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(s)
}

// hidden hides what precedes the last @ of a text, but for a scheme.
func hidden(s string) string {
	start := 0
	if i := strings.Index(s, "://"); i >= 0 {
		start = i + len("://")
	}
	if at := strings.LastIndexByte(s, '@'); at >= start {
		return s[:start] + "***" + s[at:]
	}
	return s
}
