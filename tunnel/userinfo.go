package tunnel

import "strings"

// hidden replaces what a message must not show.
const hidden = "***"

// WithoutUserinfo returns the text of a URL, which may be malformed, with "***" in place
// of what may be a user name and a password: everything between "://", or the start,
// and the last @. Of text without an @ it hides what follows the last colon, unless
// that is a port or the end of an IPv6 literal, since a URL that was cut off may end
// within its password. It is for messages about a URL that could not be parsed.
func WithoutUserinfo(s string) string {
	start := 0
	if i := strings.Index(s, "://"); i >= 0 {
		start = i + len("://")
	}
	if at := strings.LastIndexByte(s, '@'); at >= start {
		return s[:start] + hidden + s[at:]
	}
	rest, query := s[start:], ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest, query = rest[:i], rest[i:]
	}
	colon := strings.LastIndexByte(rest, ':')
	if port := rest[colon+1:]; colon < 0 || strings.Trim(port, "0123456789") == "" || strings.HasPrefix(rest, "[") {
		return s
	}
	return s[:start] + rest[:colon+1] + hidden + query
}
