package wire

import (
	"bufio"
	"bytes"
	"net/netip"
	"strings"
)

// Request is a request head.
type Request struct {
	Head
	Method string // a token, case-sensitive
	Target string // as sent, visible ASCII; its form is not checked
	Minor  int    // 1 for HTTP/1.1 and any later minor version, 0 for HTTP/1.0
}

// ReadRequest reads one request head from br and nothing behind its blank line. It is
// strict: it refuses what RFC 9112 calls invalid, so that no two readers can understand
// the same bytes differently. It accepts a head all of whose lines end in a lone LF. The
// head may have limit bytes (DefaultMaxHead if limit is not positive). The buffer of br
// may be smaller.
//
// If no byte was received, the error is the read error: io.EOF if the connection was
// closed in order. Every other error is a *HeadError.
func ReadRequest(br *bufio.Reader, limit int) (*Request, error) {
	r, q := newReader(br, limit, true), new(Request)
	if err := r.readRequest(q); err != nil {
		return nil, err
	}
	return q, nil
}

func (r *reader) readRequest(q *Request) error {
	*q = Request{}
	if err := r.read(); err != nil {
		return err
	}
	q.Minor = r.line.minor
	if err := r.finish(&q.Head); err != nil {
		return err
	}
	q.Method = q.Line[:r.line.target-1-r.start]
	q.Target = q.Line[r.line.target-r.start : r.line.targetEnd-r.start]
	return nil
}

// inspectRequestLine checks the bytes of a request line that were just received.
func (r *reader) inspectRequestLine(from int) error {
	for i := from; i < len(r.raw); i++ {
		c := r.raw[i]
		switch {
		case c == '\n': // the end of the line, or of the empty line before it
		case i > r.start && r.raw[i-1] == '\r':
			return r.malformed(BareCR, i-1)
		case c == '\r':
		case !r.inTarget:
			if err := r.inspectMethod(i); err != nil {
				return err
			}
		case c == 0:
			return r.malformed(NUL, i)
		case isControl(c) || c == '\t':
			return r.malformed(ControlChar, i)
		case c >= 0x80:
			return r.malformed(HighBytes, i)
		}
	}
	return nil
}

// inspectMethod checks the byte at i, which is before the first space.
func (r *reader) inspectMethod(i int) error {
	c := r.raw[i]
	switch at := i - r.start; {
	case at == 1 && r.raw[r.start] == tlsHandshake:
		if c == tlsMajor {
			return r.fail(NotHTTP, Flaw{}, "TLS was spoken to a plain HTTP port")
		}
		return r.fail(NotHTTP, Flaw{}, "the first byte starts no HTTP request")
	case at == 0 && c == tlsHandshake: // the next byte decides
		return nil
	case at == 0 && (c == 4 || c == 5): // the versions of SOCKS (RFC 1928, section 3)
		return r.fail(NotHTTP, Flaw{}, "SOCKS was spoken to an HTTP port")
	case at == 0 && !isToken(c):
		return r.fail(NotHTTP, Flaw{}, "the first byte starts no HTTP request")
	case c == ' ':
		r.inTarget = true
	case c == 0:
		return r.malformed(NUL, i)
	case isControl(c) || c == '\t':
		return r.malformed(ControlChar, i)
	case c >= 0x80:
		return r.malformed(HighBytes, i)
	case !isToken(c) || at >= maxMethod:
		return r.malformed(BadMethod, i)
	}
	return nil
}

// The first bytes of a TLS record (RFC 8446, section 5.1).
const (
	tlsAlert     = 21
	tlsHandshake = 22
	tlsMajor     = 3
)

// parseRequestLine parses method SP target SP version, with exactly these two spaces
// (RFC 9112, section 3).
func (r *reader) parseRequestLine() error {
	line := r.raw[r.start:r.line.end]
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if first < 0 || last <= first+1 || bytes.IndexByte(line[first+1:last], ' ') >= 0 {
		return r.malformed(BadStartLine, r.start)
	}
	if string(line) == "PRI * HTTP/2.0" { // RFC 9113, section 3.4
		return r.fail(BadVersion, Flaw{}, "HTTP/2 was spoken to a port that speaks HTTP/1.1")
	}
	r.line.target, r.line.targetEnd = r.start+first+1, r.start+last
	return r.parseVersion(r.line.targetEnd+1, r.line.end)
}

// CheckHost checks the Host field as RFC 9112, section 3.2 demands: there is exactly one
// and it is valid, though it may be empty; in HTTP/1.0 it may be missing. The error is a
// *HeadError with the problem Malformed.
func (q *Request) CheckHost() error {
	found := -1
	for i := range q.Fields {
		if !equalFold(q.Fields[i].Name, "Host") {
			continue
		}
		if found >= 0 {
			return malformed("there is more than one Host field")
		}
		found = i
	}
	switch {
	case found >= 0:
		return checkHost(q.Fields[found].Value)
	case q.Minor > 0:
		return malformed("the Host field is missing")
	}
	return nil
}

// checkHost checks uri-host [ ":" port ] (RFC 9110, section 7.2).
func checkHost(s string) error {
	if s == "" {
		return nil
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
	}
	if !validPort(port) {
		return malformed("the Host field's port is not a number from 1 to 65535")
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return malformed("the Host field's brackets do not hold an IPv6 address")
		}
		return nil
	}
	if !validRegName(host) {
		return malformed("the Host field is not a host with an optional port")
	}
	return nil
}

// validPort reports whether s is a port or empty, which is valid by RFC 3986, section
// 3.2.3.
func validPort(s string) bool {
	n := 0
	for i := range len(s) {
		if !isDigit(s[i]) || n > 65535 {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return s == "" || n >= 1 && n <= 65535
}

// validRegName reports whether s is a reg-name (RFC 3986, section 3.2.2) and not empty,
// as in a URI of scheme http (RFC 9110, section 4.2.1).
func validRegName(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
		case isDigit(c), lower(c) >= 'a' && lower(c) <= 'z':
		case strings.IndexByte("-._~!$&'()*+,;=", c) < 0:
			return false
		}
	}
	return s != ""
}

func isHex(c byte) bool { return isDigit(c) || lower(c) >= 'a' && lower(c) <= 'f' }

// malformed returns the error for a complete head.
func malformed(detail string) error {
	return &HeadError{Problem: Malformed, Detail: detail}
}
