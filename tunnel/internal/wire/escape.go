package wire

import (
	"errors"
	"fmt"
	"strconv"
)

// Escape returns b as text that is safe on a terminal and in a log: printable ASCII as
// it is, CR, LF, HTAB and backslash as \r, \n, \t and \\, every other byte as \xNN.
// Text longer than limit bytes is cut, but not within an escape, and "..." appended. A
// limit of 0 or less means none.
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

// Unescape is the inverse of Escape without a limit. Bytes that Escape would escape may
// be unescaped in text, except for the backslash.
func Unescape(text []byte) ([]byte, error) {
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			plain = append(plain, text[i])
			continue
		}
		if i++; i == len(text) {
			return nil, errors.New(`a backslash at the end: write \\ for one`)
		}
		switch text[i] {
		case 'r':
			plain = append(plain, '\r')
		case 'n':
			plain = append(plain, '\n')
		case 't':
			plain = append(plain, '\t')
		case '\\':
			plain = append(plain, '\\')
		case 'x':
			if i+2 >= len(text) {
				return nil, errors.New(`\x needs two hexadecimal digits`)
			}
			c, err := strconv.ParseUint(string(text[i+1:i+3]), 16, 8)
			if err != nil {
				return nil, errors.New(`\x needs two hexadecimal digits`)
			}
			plain = append(plain, byte(c))
			i += 2
		default:
			return nil, fmt.Errorf(`unknown escape \%s: there are \r \n \t \\ and \xNN`, Escape(text[i:i+1], 0))
		}
	}
	return plain, nil
}
