package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"culvert/tunnel/internal/h2"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maskedTaps masks the credentials without a change of length, since frames
// announce their lengths. secret reports that some could not be masked.
func (s *session) maskedTaps() (out []*tapped, secret bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.taps {
		all := s.mask.SameLength(t.received())
		end, hidden := s.playable(all)
		secret = secret || hidden
		masked := &tapped{conn: t.conn, left: t.left, cut: t.cut}
		if end < t.read || t.cut {
			masked.left = ""
		}
		for _, p := range t.pieces {
			if !p.sent {
				p.bytes, all = all[:min(len(p.bytes), end)], all[len(p.bytes):]
				end -= len(p.bytes)
			}
			if len(p.bytes) > 0 {
				masked.pieces = append(masked.pieces, p)
			}
		}
		out = append(out, masked)
	}
	return out, secret
}

// window is how many bytes a stream may send before the Client grants more. A
// Prober reads less, and a replay does not wait for grants.
const window = 65535

// maxDecoded bounds the fields that are searched for credentials: few bytes on the
// wire may stand for many.
const maxDecoded = 1 << 20

// playable returns how many bytes of all, which a proxy sent, can be replayed: no more
// data than the window, and no frame that cannot be read to its end, because credentials in
// its fields would go unseen. secret reports credentials in it, or too many fields to search
// them all.
func (s *session) playable(all []byte) (end int, secret bool) {
	in := bytes.NewReader(all)
	framer := http2.NewFramer(io.Discard, in)
	framer.SetMaxReadFrameSize(16384) // as in internal/h2, which refuses larger ones unread
	var content bytes.Buffer
	decoded := 0
	dec := hpack.NewDecoder(4096, nil)
	dec.SetEmitFunc(func(f hpack.HeaderField) {
		if decoded += len(f.Name) + len(f.Value); decoded > maxDecoded {
			dec.SetEmitEnabled(false)
		}
		secret = secret || s.mask.Holds([]byte(f.Name)) || s.mask.Holds([]byte(f.Value))
	})
	for data := 0; ; {
		f, err := framer.ReadFrame()
		switch {
		case err != nil && end == 0: // not HTTP/2 at all
			end = len(all)
		case errors.Is(err, io.ErrUnexpectedEOF) && len(all)-end >= 9 && http2.FrameType(all[end+3]) == http2.FrameData:
			content.Write(all[end+9:])
			end = len(all)
		case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			end = len(all) - in.Len()
		}
		if err != nil {
			break
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			data += int(f.Length)
			content.Write(f.Data())
		case *http2.HeadersFrame:
			_, _ = dec.Write(f.HeaderBlockFragment())
		case *http2.ContinuationFrame:
			_, _ = dec.Write(f.HeaderBlockFragment())
		}
		if data > window {
			break
		}
		end = len(all) - in.Len()
	}
	unread := decoded > maxDecoded && s.mask.Any()
	return end, secret || unread || s.mask.Holds(content.Bytes())
}

// tapOf returns what went over a connection, if it speaks HTTP/2.
func (r *Report) tapOf(conn int) *tapped {
	for _, t := range r.taps {
		if t.conn == conn {
			return t
		}
	}
	return nil
}

// addFrames adds a connection that speaks HTTP/2 to a transcript: the bytes that
// were read and, where they were sent, the requests and the tunnel's data as the
// Report has them.
func (r *Report) addFrames(t *tapped, add func(data []byte, format string, args ...any)) {
	var exchanges []int
	for i, x := range r.Exchanges {
		if x.Connection == t.conn {
			exchanges = append(exchanges, i)
		}
	}
	at := func() string { return fmt.Sprintf("connection %d/exchange %d", t.conn, exchanges[0]+1) }
	requested, dataSent := false, false
	sent := bytes.NewBuffer(nil)
	for _, p := range t.pieces {
		if !p.sent {
			add(escapedLines(p.bytes), "%s/after %d us", at(), p.at)
			continue
		}
		sent.Write(p.bytes)
		for kind, ok := nextFrame(sent); ok; kind, ok = nextFrame(sent) {
			switch {
			case kind == http2.FrameHeaders && (!requested || len(exchanges) > 1):
				if requested {
					exchanges = exchanges[1:]
				}
				requested = true
				add(escapedLines(r.Exchanges[exchanges[0]].Request), "%s/request in frames", at())
			case kind == http2.FrameData && !dataSent && r.Tunnel != nil && len(r.Tunnel.Sent) > 0:
				dataSent = true
				add(escapedLines(r.Tunnel.Sent), "%s/sent", at())
			}
		}
	}
	left := t.left
	if left == "" {
		left = leftOpen
	}
	add([]byte(left+"\n"), "%s/left", at())
}

// nextFrame removes the next frame that was sent, once it is complete. kind is
// HEADERS, DATA, or 0xff for any other.
func nextFrame(sent *bytes.Buffer) (kind http2.FrameType, ok bool) {
	b := sent.Bytes()
	if bytes.HasPrefix(b, []byte(h2.Preface)) {
		sent.Next(len(h2.Preface))
		b = sent.Bytes()
	}
	if len(b) < 9 {
		return 0, false
	}
	size := 9 + int(b[0])<<16 + int(b[1])<<8 + int(b[2])
	if len(b) < size {
		return 0, false
	}
	kind = http2.FrameType(b[3])
	ended := http2.Flags(b[4]).Has(http2.FlagHeadersEndHeaders)
	switch sent.Next(size); {
	case kind == http2.FrameHeaders && ended, kind == http2.FrameContinuation && ended:
		return http2.FrameHeaders, true
	case kind == http2.FrameData:
		return kind, true
	}
	return 0xff, true
}
