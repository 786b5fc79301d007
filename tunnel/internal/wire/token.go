package wire

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
