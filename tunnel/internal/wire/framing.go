package wire

import (
	"errors"
	"math"
	"strings"
)

// Framing says how long the content behind a head is.
type Framing struct {
	Length     int64 // in bytes; -1 = not given
	Chunked    bool  // Transfer-Encoding: chunked
	UntilClose bool  // the content ends with the connection
}

// Empty reports whether there is no content, not even chunks without data.
func (f Framing) Empty() bool { return f.Length <= 0 && !f.Chunked && !f.UntilClose }

// Framing checks Content-Length and Transfer-Encoding and returns what they say. The
// error is a *HeadError: Unsupported for a transfer coding other than chunked,
// Malformed for anything that two readers could take for different lengths.
func (q *Request) Framing() (Framing, error) {
	f, err := q.framing(q.Minor)
	if err == nil {
		return f, nil
	}
	var e *HeadError
	if errors.As(err, &e) && e.Problem == Unsupported && !q.endsChunked() {
		// RFC 9112, section 6.3, item 4: it is not known where the content ends.
		return f, malformed("the last transfer coding is not chunked")
	}
	return f, err
}

// endsChunked reports whether the last transfer coding is chunked.
func (h *Head) endsChunked() bool {
	last := ""
	for element := range elements(h.Values("Transfer-Encoding")) {
		last = element
	}
	return equalFold(last, "chunked")
}

// Framing checks Content-Length and Transfer-Encoding as it does for a request. The
// caller must know which replies have no content in spite of these fields (1xx, 204,
// 304, a 2xx to CONNECT), and that without them the content ends with the connection
// (RFC 9112, section 6.3).
func (p *Reply) Framing() (Framing, error) { return p.framing(p.Minor) }

// ContentFraming returns the framing of a reply's content, by all the rules of RFC 9112,
// section 6.3, beside the one for CONNECT: some replies have no content in spite of
// their fields, and without those the content ends with the connection.
func (p *Reply) ContentFraming(method string) (Framing, error) {
	f, err := p.Framing()
	switch {
	case err != nil:
	case method == "HEAD", p.Code < 200, p.Code == 204, p.Code == 304:
		f = Framing{}
	case f.Length < 0 && !f.Chunked:
		f.UntilClose = true
	}
	return f, err
}

func (h *Head) framing(minor int) (Framing, error) {
	f := Framing{Length: -1}
	if _, doubtful := h.Flaw(DoubtfulFraming); doubtful {
		return f, malformed(flawTexts[DoubtfulFraming].detail)
	}
	hasLength := h.Has("Content-Length")
	if h.Has("Transfer-Encoding") {
		switch {
		case hasLength: // RFC 9112, section 6.3, item 3: an attempt at smuggling
			return f, malformed("there are both Content-Length and Transfer-Encoding")
		case minor == 0: // RFC 9112, section 6.1: the framing is faulty
			return f, malformed("there is Transfer-Encoding in HTTP/1.0")
		}
		f.Chunked = true
		return f, checkCodings(h.Values("Transfer-Encoding"))
	}
	if !hasLength {
		return f, nil
	}
	for i := range h.Fields {
		if !equalFold(h.Fields[i].Name, "Content-Length") {
			continue
		}
		for s := range strings.SplitSeq(h.Fields[i].Value, ",") {
			n, ok := parseLength(trimOWS(s))
			if !ok {
				return f, malformed("Content-Length is not a number of bytes")
			}
			// RFC 9110, section 8.6: repetitions of the same value are one.
			if f.Length >= 0 && f.Length != n {
				return f, malformed("there are differing values of Content-Length")
			}
			f.Length = n
		}
	}
	return f, nil
}

// checkCodings accepts "chunked" alone. In any other spelling, even with an empty list
// element, some readers would not recognise it.
func checkCodings(values []string) error {
	if len(values) == 1 && equalFold(values[0], "chunked") {
		return nil
	}
	for element := range elements(values) {
		name, _, _ := strings.Cut(element, ";")
		if !equalFold(trimOWS(name), "chunked") {
			return &HeadError{Problem: Unsupported, Detail: "the transfer coding is not supported"}
		}
	}
	return malformed("Transfer-Encoding is not chunked, once and by itself")
}

// parseLength parses digits only, up to the largest int64.
func parseLength(s string) (int64, bool) {
	var n int64
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, s != ""
}
