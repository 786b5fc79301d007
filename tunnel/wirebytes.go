package tunnel

import (
	"bytes"
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
	plain, err := wire.Unescape(text)
	if err == nil {
		*b = plain
	}
	return err
}

// EscapeLine returns one line of a head without its line end, for a terminal:
// what is not printable ASCII is escaped, a CR before the LF only if it stands
// anywhere else, and what passes a kilobyte is cut.
func EscapeLine(line []byte) string {
	return wire.Escape(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), 1<<10)
}
