package wire

// Escape returns b as text that is safe on a terminal and in a log: printable
// ASCII as it is, CR, LF, HTAB and backslash as \r, \n, \t and \\, every other
// byte as \xNN. What would pass limit bytes of text is cut, never within an
// escape, and "..." put in its place; limit 0 or less is none.
func Escape(b []byte, limit int) string {
	if limit <= 0 {
		limit = 4 * len(b)
	}
	text := make([]byte, 0, min(limit, len(b)+len(b)/4)+len("..."))
	for _, c := range b {
		n := len(text)
		text = appendEscaped(text, c)
		if len(text) > limit {
			return string(append(text[:n], "..."...))
		}
	}
	return string(text)
}

func appendEscaped(text []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case c == '\r':
		return append(text, '\\', 'r')
	case c == '\n':
		return append(text, '\\', 'n')
	case c == '\t':
		return append(text, '\\', 't')
	case c == '\\':
		return append(text, '\\', '\\')
	case c >= ' ' && c < 0x7f:
		return append(text, c)
	}
	return append(text, '\\', 'x', hex[c>>4], hex[c&15])
}
