package wire

import (
	"bufio"
	"strings"
)

// Reply is a reply head.
type Reply struct {
	Head
	Code   int    // 100 to 999
	Minor  int    // 1 for HTTP/1.1 and any later minor version, 0 for HTTP/1.0
	Reason string // may be empty, and may contain control characters: see Escape
}

// ReadReply reads one reply head from br, final or interim, and nothing behind its blank
// line. It is tolerant: it accepts a head that can be understood and records its Flaws.
// It refuses a head that does not begin with "HTTP/" (at the first byte that differs),
// a version other than 1, a status code that is not three digits from 100, a NUL, and a
// head that has no end or more than limit bytes (DefaultMaxHead if limit is not
// positive). The buffer of br may be smaller than limit.
//
// If no byte was received, the error is the read error: io.EOF if the connection was
// closed in order. Every other error is a *HeadError.
func ReadReply(br *bufio.Reader, limit int) (*Reply, error) {
	r, p := newReader(br, limit, false), new(Reply)
	if err := r.readReply(p); err != nil {
		return nil, err
	}
	return p, nil
}

func (r *reader) readReply(p *Reply) error {
	*p = Reply{}
	if err := r.read(); err != nil {
		return err
	}
	p.Code, p.Minor = r.line.code, r.line.minor
	if err := r.finish(&p.Head); err != nil {
		return err
	}
	p.Reason = strings.ReplaceAll(p.Line[r.line.reason:], "\r", " ")
	return nil
}

// inspectStatusLine checks the bytes of a status line that were just received.
func (r *reader) inspectStatusLine(from int) error {
	const prefix = "HTTP/"
	for i := from; i < min(len(r.raw), len(prefix)); i++ {
		switch c := r.raw[i]; {
		case i == 0 && c == tlsAlert: // the next byte decides
		case i == 1 && r.raw[0] == tlsAlert && c == tlsMajor:
			return r.fail(NotHTTP, Flaw{}, "a TLS alert was answered to plain HTTP")
		case c != prefix[i] || r.raw[0] == tlsAlert:
			return r.fail(NotHTTP, Flaw{}, "the first bytes start no HTTP reply")
		}
	}
	return r.inspectNUL(from)
}

// parseStatusLine parses version SP code SP reason (RFC 9112, section 4).
func (r *reader) parseStatusLine() error {
	line := r.raw[:r.line.end]
	i := 0
	for i < len(line) && !isBlank(line[i]) {
		i++
	}
	if err := r.parseVersion(0, i); err != nil {
		return err
	}
	// RFC 9112, section 4: any whitespace may be accepted for the SP.
	for j := i; j < len(line) && isBlank(line[j]); j++ {
		if j > i || line[j] != ' ' {
			r.note(ExtraSpace, j)
		}
	}
	for i < len(line) && isBlank(line[i]) {
		i++
	}
	digits := i
	for i < len(line) && isDigit(line[i]) && i < digits+3 {
		r.line.code = r.line.code*10 + int(line[i]-'0')
		i++
	}
	ended := i == len(line)
	if i != digits+3 || r.line.code < 100 || !ended && !isBlank(line[i]) {
		return r.malformed(BadStatus, digits)
	}
	if ended {
		// The SP must be sent even if the reason is empty.
		r.note(NoReason, i)
		r.line.reason = i
		return nil
	}
	r.line.reason = i + 1
	for ; i < len(line); i++ {
		if line[i] == '\r' {
			r.note(BareCR, i)
		} else if isControl(line[i]) {
			r.note(ControlChar, i)
		}
	}
	return nil
}
