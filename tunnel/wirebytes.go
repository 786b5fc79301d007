package tunnel

import (
	"bytes"

	"culvert/tunnel/internal/wire"
)

// WireBytes are bytes as they were sent or received. In text and JSON they are
// printable ASCII: CR, LF, HTAB and backslash are \r, \n, \t and \\, every other
// byte that is not printable is \xNN. UnmarshalText restores the same bytes.
type WireBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b WireBytes) MarshalText() ([]byte, error) { return []byte(wire.Escape(b, 0)), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Bytes that MarshalText would
// escape may be unescaped in the text, except for the backslash.
func (b *WireBytes) UnmarshalText(text []byte) error {
	plain, err := wire.Unescape(text)
	if err == nil {
		*b = plain
	}
	return err
}

// EscapeLine returns a line of a head in a form that is safe on a terminal: escaped
// as WireBytes are, without its CR LF or LF, and cut after a kilobyte.
func EscapeLine(line []byte) string {
	return wire.Escape(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), 1<<10)
}
