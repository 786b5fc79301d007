package wire

import (
	"errors"
	"fmt"
	"strconv"
)

// Unescape is the inverse of Escape: \r, \n, \t, \\ and \xNN. Bytes that Escape
// would have escaped may stand as they are, save the backslash.
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
