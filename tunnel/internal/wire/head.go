// Package wire reads the head of an HTTP/1 message, request or reply, and
// keeps the exact bytes it came in. It is the one head reader of all three
// verbs: strict for requests (serve must not guess what another hop would make
// of a head), tolerant for replies (dial has to live with the proxies there
// are), and in both it tells which departures from RFC 9112 it saw, so that
// probe can show them.
//
// A head ends with its blank line and not one byte behind it is consumed: what
// follows a CONNECT request or its 2xx belongs to the tunnel.
package wire

import (
	"iter"
	"strings"
)

// DefaultMaxHead is the number of bytes that a head may have, blank line
// included, if the caller names no other.
const DefaultMaxHead = 64 << 10

// Field is one header field. Its text comes from the network: it may hold
// anything but NUL, CR and LF, so Escape it before it reaches a terminal.
type Field struct {
	Name  string // as sent, but a bare CR as a space
	Value string // without surrounding whitespace; folded lines joined with one space, a bare CR as a space
}

// Head is what requests and replies have in common.
type Head struct {
	Raw    []byte  // every byte consumed, through the blank line
	Line   string  // the start line as sent, without its line end
	Fields []Field // in the order of arrival
	Flaws  []Flaw  // the first of each kind, in the order of detection
	AllLF  bool    // every line ended in a lone LF
}

// Get returns the value of the first field of that name, in any case, or "".
func (h *Head) Get(name string) string {
	for i := range h.Fields {
		if equalFold(h.Fields[i].Name, name) {
			return h.Fields[i].Value
		}
	}
	return ""
}

// Values returns the values of all fields of that name, in any case.
func (h *Head) Values(name string) []string {
	var values []string
	for i := range h.Fields {
		if equalFold(h.Fields[i].Name, name) {
			values = append(values, h.Fields[i].Value)
		}
	}
	return values
}

// Has reports whether there is a field of that name, in any case.
func (h *Head) Has(name string) bool {
	for i := range h.Fields {
		if equalFold(h.Fields[i].Name, name) {
			return true
		}
	}
	return false
}

// Flaw returns the first flaw of that kind.
func (h *Head) Flaw(kind FlawKind) (Flaw, bool) {
	for _, flaw := range h.Flaws {
		if flaw.Kind == kind {
			return flaw, true
		}
	}
	return Flaw{}, false
}

// HasToken reports whether one of the comma-separated lists in values, as
// Connection has them, names token in any case (RFC 9110, section 5.6.1).
func HasToken(values []string, token string) bool {
	for element := range elements(values) {
		if equalFold(element, token) {
			return true
		}
	}
	return false
}

// Tokens returns the elements of the comma-separated lists in values as sent,
// without empty ones. It knows no quoted strings: it is for lists of tokens.
func Tokens(values []string) []string {
	var tokens []string
	for element := range elements(values) {
		tokens = append(tokens, element)
	}
	return tokens
}

func elements(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, value := range values {
			for element := range strings.SplitSeq(value, ",") {
				// RFC 9110, section 5.6.1.2: empty elements are ignored.
				if element = trimOWS(element); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// equalFold compares in ASCII only: strings.EqualFold takes the Kelvin sign
// for a k, and with it another word for "chunked".
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// trimOWS cuts spaces and tabs off both ends (RFC 9110, section 5.6.3).
func trimOWS(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isControl leaves HTAB out, which a field value may hold (RFC 9110, section 5.5).
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func isToken(c byte) bool { return tokenChars[c] }

// tokenChars is tchar of RFC 9110, section 5.6.2.
var tokenChars = func() (set [256]bool) {
	const chars = "!#$%&'*+-.^_`|~0123456789" +
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for i := range len(chars) {
		set[chars[i]] = true
	}
	return set
}()
