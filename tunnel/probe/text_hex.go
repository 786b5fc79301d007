package probe

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"culvert/tunnel/terminal"
)

// maxDumped bounds what WriteHex shows.
const maxDumped = 96 << 10

// WriteHex writes the text of WriteText, but with the bytes of the exchanges and of
// the tunnel in hexadecimal, with their offsets, and a line for each read that says
// when it returned. Of HTTP/2 it shows the frames, as WriteText does.
func (r *Report) WriteHex(w io.Writer, style terminal.Style) error {
	return r.write(w, &reportText{Style: style, hex: true})
}

// dump adds bytes in hexadecimal, 16 on a line, numbered from offset.
func (t *reportText) dump(mark string, colour terminal.Colour, b []byte, offset int) {
	for len(b) > 0 {
		line := b[:min(16, len(b))]
		digits := hex.EncodeToString(line)
		var spaced strings.Builder
		for i := 0; i < len(digits); i += 2 {
			if spaced.WriteString(" " + digits[i:i+2]); i == 14 {
				spaced.WriteString(" ")
			}
		}
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, latin1(line))
		t.out.WriteString(colour.Paint(fmt.Sprintf("%s %08x %-49s |%s|", mark, offset, spaced.String(), text)) + "\n")
		b, offset = b[len(line):], offset+len(line)
	}
}

// latin1 converts each byte to the character of that number.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// dumpExchange adds the exchange's bytes for WriteHex.
func (t *reportText) dumpExchange(x *Exchange) {
	t.dump(">", t.Sent, x.Request, 0)
	t.dumpSegments(x.Segments, 0)
}

// dumpTunnel adds the tunnel's bytes for WriteHex. The glued bytes were dumped with
// the reply if above is set.
func (t *reportText) dumpTunnel(n *Tunnel, above bool) {
	t.dump(">", t.Sent, n.Sent, 0)
	switch {
	case n.Glued > 0 && above:
		t.printf("%s came together with the reply, and stand with it above", bytesOf(n.Glued))
	case n.Glued > 0:
		t.printf("together with the reply: %s", bytesOf(n.Glued))
		t.dump("<", t.Received, n.Data[:n.Glued], 0)
	}
	t.dumpSegments(n.Segments, n.Glued)
}

// dumpSegments adds what each read returned, and when, numbered from offset.
func (t *reportText) dumpSegments(segments []Segment, offset int) {
	for _, s := range segments {
		if offset >= maxDumped {
			t.printf("further bytes are not shown here: --json has them")
			return
		}
		t.printf("after %s: %s", strings.TrimSpace(durationOf(s.At)), bytesOf(len(s.Bytes)))
		t.dump("<", t.Received, s.Bytes, offset)
		offset += len(s.Bytes)
	}
}
