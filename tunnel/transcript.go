package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// ErrNoTranscript is WriteTranscript's error for HTTP/2, whose frames it does not
// hold.
var ErrNoTranscript = errors.New("an exchange over HTTP/2 has no transcript")

// How the proxy left a connection, in ExchangeReport.Left.
const (
	leftClosed = "closed"
	leftReset  = "reset"
	leftOpen   = "open"
)

// WriteTranscript writes the exchange as a txtar archive, which tunneltest plays
// back: for each connection and exchange the request, what each read brought and
// when, and how it was left, and likewise each message of SOCKS; then the tunnel. Bytes are escaped as WireBytes, a
// line of theirs on each line; what goes through TLS stands as it was inside.
// Credentials are masked as in the Report. version is culvert's.
func (r *Report) WriteTranscript(w io.Writer, version string) error {
	if len(r.Frames) > 0 {
		return ErrNoTranscript
	}
	a := &txtar.Archive{Comment: fmt.Appendf(nil, "culvert %s, %s\nCONNECT %s through %s\nverdict: %s\n\n", version, r.Started.Format(time.RFC3339), r.Target, strings.Join(r.Plan.Hops, ", then "), r.Verdict.Words)}
	add := func(data []byte, format string, args ...any) {
		a.Files = append(a.Files, txtar.File{Name: fmt.Sprintf(format, args...), Data: data})
	}
	for i, x := range r.Exchanges {
		r.addSOCKS(i, add)
		at := fmt.Sprintf("connection %d/exchange %d", x.Connection, i+1)
		add(escapedLines(x.Request), "%s/request", at)
		for _, s := range x.Segments {
			add(escapedLines(s.Bytes), "%s/after %d us", at, s.At)
		}
		if x.Left != "" {
			add([]byte(x.Left+"\n"), "%s/left", at)
		}
	}
	r.addSOCKS(len(r.Exchanges), add)
	if t := r.Tunnel; t != nil {
		if len(t.Sent) > 0 {
			add(escapedLines(t.Sent), "tunnel/sent")
		}
		add(escapedLines(t.Data[min(t.Glued, len(t.Data)):]), "tunnel/read")
		left := map[tunnelEnd]string{endClosed: leftClosed, endTruncated: leftClosed, endReset: leftReset}[tunnelEnd(t.End)]
		if left == "" {
			left = leftOpen
		}
		add([]byte(left+"\n"), "tunnel/left")
	}
	_, err := w.Write(txtar.Format(a))
	return err
}

// addSOCKS adds what was said in SOCKS right before that exchange.
func (r *Report) addSOCKS(before int, add func(data []byte, format string, args ...any)) {
	for i, h := range r.SOCKS {
		if h.Before != before {
			continue
		}
		at := fmt.Sprintf("connection %d/socks %d", h.Connection, i+1)
		for _, m := range h.Messages {
			add(escapedLines(m.Request), "%s/%s", at, m.Step)
			if len(m.Reply) > 0 {
				add(escapedLines(m.Reply), "%s/after %d us", at, m.At+m.Duration)
			}
		}
		if h.Left != "" {
			add([]byte(h.Left+"\n"), "%s/left", at)
		}
	}
}

// escapedLines breaks behind each line end of the wire. No line can be taken for
// an archive's marker.
func escapedLines(b []byte) []byte {
	var out strings.Builder
	for line := range bytes.Lines(b) {
		text, _ := WireBytes(line).MarshalText()
		if bytes.HasPrefix(text, []byte("-- ")) {
			text = append([]byte(`\x2d`), text[1:]...)
		}
		out.Write(append(text, '\n'))
	}
	return []byte(out.String())
}

// left is how the proxy left the connection of an exchange; "" = something came
// after it there, or it is a tunnel.
func (x *Exchange) left(goesOn bool) string {
	if goesOn {
		return ""
	}
	return leftAfter(x.Err, x.Watched && x.KeptOpen)
}

// leftAfter is left for what ended the way, if anything did.
func leftAfter(err error, keptOpen bool) string {
	e, failed := errors.AsType[*Error](err)
	switch {
	case !failed:
		return ""
	case keptOpen, e.Type == ErrorConnectionReadTimeout, e.Type == ErrorResponseHeadSize:
		return leftOpen
	case isReset(e.Err):
		return leftReset
	}
	return leftClosed
}
