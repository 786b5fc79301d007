package probe

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/terminal"
)

// What comes in more reads than maxSegments is put to the last of them. maxDumped
// bounds what WriteHex shows.
const (
	maxSegments = 4096
	maxDumped   = 96 << 10
)

// segment is what one read brought, which over TCP is a segment or some that came
// close together.
type segment struct {
	at    time.Time
	bytes []byte
}

// Segment is what one read from a proxy brought.
type Segment struct {
	At    Micros           `json:"at_us"` // since Report.Started
	Bytes tunnel.WireBytes `json:"bytes"`
}

// read keeps what a read brought, for the exchange under way, and how it ended: all
// that a Client reads of one, so that a transcript is whole.
func (r *recording) read(b []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == "" {
		r.left = leftBy(err)
	}
	if b = b[:min(len(b), client.MaxExchangeBytes-r.kept)]; len(b) == 0 || r.over {
		return
	}
	r.kept += len(b)
	if n := len(r.reads); n == maxSegments {
		r.reads[n-1].bytes = append(r.reads[n-1].bytes, b...)
		return
	}
	r.reads = append(r.reads, segment{time.Now(), bytes.Clone(b)})
}

// leftBy is how a proxy left a connection, by what a read of it failed with; "" =
// it did not leave.
func leftBy(err error) string {
	switch {
	case neterr.Reset(err):
		return leftReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, client.ErrTruncated):
		return leftClosed
	}
	return ""
}

// segmentsReport has the credentials masked; where one was, the boundaries behind
// the first are lost, as it may lie across them.
func (s *session) segmentsReport(reads []segment) (out []Segment) {
	var all []byte
	for _, r := range reads {
		all = append(all, r.bytes...)
	}
	if shown := s.mask.Received(all); len(reads) > 0 && !bytes.Equal(shown, all) {
		return []Segment{{s.at(reads[0].at), shown}}
	}
	for _, r := range reads {
		out = append(out, Segment{s.at(r.at), r.bytes})
	}
	return out
}

// WriteHex is WriteText with the bytes of the exchanges and of the tunnel in
// hexadecimal, with their offsets, and a line for each read that says when it came.
// Of HTTP/2 it shows the frames as WriteText does.
func (r *Report) WriteHex(w io.Writer, style terminal.Style) error {
	return r.write(w, &reportText{Style: style, hex: true})
}

// WriteRaw writes what came from the last proxy, and through the tunnel, and
// nothing else: not fit for a terminal. Credentials in it are masked.
func (r *Report) WriteRaw(w io.Writer) error {
	var raw []byte
	if n := len(r.Exchanges); n > 0 {
		x := r.Exchanges[n-1]
		for _, s := range x.Segments {
			raw = append(raw, s.Bytes...)
		}
		if len(x.Segments) == 0 { // HTTP/2 has no bytes of its own
			raw = append(append(raw, x.Reply...), x.Content...)
		}
	}
	if r.Tunnel != nil {
		raw = append(raw, r.Tunnel.Data[min(r.Tunnel.Glued, len(r.Tunnel.Data)):]...)
	}
	_, err := w.Write(raw)
	return err
}

// dump adds bytes in hexadecimal, 16 on a line, from an offset on.
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

// latin1 makes each byte a character.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// dumpExchange is the exchange's bytes for WriteHex.
func (t *reportText) dumpExchange(x *ExchangeReport) {
	t.dump(">", t.Sent, x.Request, 0)
	t.dumpSegments(x.Segments, 0)
}

// dumpTunnel is the tunnel's bytes for WriteHex. What came glued to the reply is
// in the dump of that, if there was one.
func (t *reportText) dumpTunnel(n *TunnelReport, above bool) {
	t.dump(">", t.Sent, n.Sent, 0)
	switch {
	case n.Glued > 0 && above:
		t.say("%s came together with the reply, and stand with it above", bytesOf(n.Glued))
	case n.Glued > 0:
		t.say("together with the reply: %s", bytesOf(n.Glued))
		t.dump("<", t.Received, n.Data[:n.Glued], 0)
	}
	t.dumpSegments(n.Segments, n.Glued)
}

// dumpSegments adds what reads brought, from an offset on, and when.
func (t *reportText) dumpSegments(segments []Segment, offset int) {
	for _, s := range segments {
		if offset >= maxDumped {
			t.say("further bytes are not shown here: --json has them")
			return
		}
		t.say("after %s: %s", strings.TrimSpace(durationOf(s.At)), bytesOf(len(s.Bytes)))
		t.dump("<", t.Received, s.Bytes, offset)
		offset += len(s.Bytes)
	}
}
