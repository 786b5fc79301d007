package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"culvert/tunnel"

	"github.com/rogpeppe/go-internal/txtar"
)

// The errors of WriteTranscript.
var (
	// ErrNoTranscript means that the route has several proxies, one of which speaks
	// HTTP/2: its frames would hold the exchanges with the others.
	ErrNoTranscript = errors.New("an exchange over HTTP/2 has a transcript only if there is one proxy")

	// ErrNoExchange means that no proxy was reached.
	ErrNoExchange = errors.New("there was no exchange")

	// ErrSecretSentBack means that a proxy sent the credentials back, or may have,
	// in a compressed form inside frames, where they cannot be masked.
	ErrSecretSentBack = errors.New("the proxy sent the credentials back, or may have, compressed as HTTP/2 has it, where they cannot be masked")
)

// WriteTranscript writes the exchange as a txtar archive, which tunneltest can
// replay: for each connection and exchange the request, what each read returned and
// when, and how the proxy left the connection; likewise for each message of SOCKS;
// then the tunnel. Bytes are escaped as tunnel.WireBytes, one line of the wire on
// each line. What went through TLS is in clear. Over HTTP/2 the requests are those
// of the Report, and the bytes read are frames.
//
// Credentials are masked as in the Report. version is the version of culvert. The
// error is ErrNoTranscript, ErrNoExchange, ErrSecretSentBack, or the writer's.
func (r *Report) WriteTranscript(w io.Writer, version string) error {
	switch {
	case len(r.Exchanges) == 0 && len(r.SOCKS) == 0:
		return ErrNoExchange
	case len(r.Frames) > 0 && len(r.Plan.Hops) > 1:
		return ErrNoTranscript
	case r.secretSentBack:
		return ErrSecretSentBack
	}
	a := &txtar.Archive{Comment: fmt.Appendf(nil, "culvert %s, %s\nCONNECT %s through %s\nverdict: %s\n\n", version, r.Started.Format(time.RFC3339), r.Target, strings.Join(r.Plan.Hops, ", then "), r.Verdict.Words)}
	if slices.ContainsFunc(r.TLS, func(h TLSHandshake) bool { return h.Inside }) {
		a.Comment = append(a.Comment, "TLS with the target is left out: play it back to a probe without --tls, which has no verdict on that\n\n"...)
	}
	if slices.ContainsFunc(r.taps, func(t *tapped) bool { return t.cut }) {
		a.Comment = append(a.Comment, "cut off: more came than a transcript holds, and it may play back to another verdict\n\n"...)
	}
	add := func(data []byte, format string, args ...any) {
		a.Files = append(a.Files, txtar.File{Name: fmt.Sprintf(format, args...), Data: data})
	}
	framed, before := false, 0
	for i, x := range r.Exchanges {
		r.addSOCKS(i, add)
		t := r.tapOf(x.Connection)
		if framed = t != nil; framed {
			if x.Connection != before {
				r.addFrames(t, add)
			}
			before = x.Connection
			continue
		}
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
	if t := r.Tunnel; t != nil && !framed {
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

// addSOCKS adds the SOCKS handshakes that came right before an exchange.
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

// escapedLines escapes b, with a line break after each line end of the wire. No
// line of it can be mistaken for an archive's marker.
func escapedLines(b []byte) []byte {
	var out strings.Builder
	for line := range bytes.Lines(b) {
		text, _ := tunnel.WireBytes(line).MarshalText()
		if bytes.HasPrefix(text, []byte("-- ")) {
			text = append([]byte(`\x2d`), text[1:]...)
		}
		out.Write(append(text, '\n'))
	}
	return []byte(out.String())
}
