package wire

import "strings"

// IsToken reports whether s is a token (RFC 9110, section 5.6.2), as methods
// and field names must be.
func IsToken(s string) bool {
	for i := range len(s) {
		if !isToken(s[i]) {
			return false
		}
	}
	return s != ""
}

// IsSFToken reports whether s is a token in the narrower sense of structured
// fields (RFC 8941, section 3.3.4).
func IsSFToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '*'
		if i == 0 && !letter || !letter && !(c >= '0' && c <= '9') && !strings.ContainsRune("!#$%&'+-.^_`|~:/", rune(c)) {
			return false
		}
	}
	return s != ""
}

// WriteQuoted writes s to b as a string of a structured field (RFC 8941,
// section 3.3.3), which is a quoted-string of RFC 9110, section 5.6.4, too.
// Bytes that such a string cannot hold become '?'.
func WriteQuoted(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"', c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20, c >= 0x7f:
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// HasControl reports whether s holds an ASCII control character. HTAB is one.
func HasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
