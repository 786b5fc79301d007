package tunnel

import (
	"errors"
	"fmt"
	"strconv"

	"culvert/tunnel/internal/wire"
)

// WireBytes are bytes as they went over the wire. In text and JSON they are
// printable ASCII: CR, LF, HTAB and backslash as \r, \n, \t and \\, every
// other byte that is not printable as \xNN. Nothing is lost by it.
type WireBytes []byte

// MarshalText escapes the bytes.
func (b WireBytes) MarshalText() ([]byte, error) { return []byte(wire.Escape(b, 0)), nil }

// UnmarshalText is the inverse of MarshalText. Bytes that MarshalText would
// have escaped may stand as they are, save the backslash.
func (b *WireBytes) UnmarshalText(text []byte) error {
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			plain = append(plain, text[i])
			continue
		}
		if i++; i == len(text) {
			return errors.New(`a backslash at the end: write \\ for one`)
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
				return errors.New(`\x needs two hexadecimal digits`)
			}
			c, err := strconv.ParseUint(string(text[i+1:i+3]), 16, 8)
			if err != nil {
				return errors.New(`\x needs two hexadecimal digits`)
			}
			plain = append(plain, byte(c))
			i += 2
		default:
			return fmt.Errorf(`unknown escape \%s: there are \r \n \t \\ and \xNN`, wire.Escape(text[i:i+1], 0))
		}
	}
	*b = plain
	return nil
}
