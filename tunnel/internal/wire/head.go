// Package wire reads the heads of HTTP/1 requests and replies and keeps their exact
// bytes. All three verbs use it. It is strict for requests, as serve must not guess
// what the next hop would make of a head, and tolerant for replies, as dial has to cope
// with the proxies that exist. In both it records the deviations from RFC 9112, so that
// probe can show them. It also reads the content of requests, and knows the syntax of
// field values that several packages check or write.
//
// A head ends with its blank line, and no byte behind that is consumed: what follows a
// CONNECT request or its 2xx belongs to the tunnel. The package imports nothing of this
// module.
package wire

import (
	"iter"
	"strings"
)

// DefaultMaxHead is the limit for the bytes of a head, including its blank line, if the
// caller gives none.
const DefaultMaxHead = 64 << 10

// Field is one header field. Its text comes from the network and may contain any byte
// but NUL, CR and LF, so Escape it before it is written to a terminal.
type Field struct {
	Name  string // as sent, with a space for a bare CR
	Value string // without surrounding whitespace, with folded lines joined by one space and a space for a bare CR
}

// Head is the part that requests and replies have in common.
type Head struct {
	Raw    []byte  // every byte consumed, through the blank line
	Line   string  // the start line as sent, without its line end
	Fields []Field // in the order of arrival
	Flaws  []Flaw  // the first of each kind, in the order of detection
	AllLF  bool    // every line ended in a lone LF
}

// Get returns the value of the first field with a name, in any case, or "".
func (h *Head) Get(name string) string {
	for i := range h.Fields {
		if equalFold(h.Fields[i].Name, name) {
			return h.Fields[i].Value
		}
	}
	return ""
}

// Values returns the values of all fields with a name, in any case.
func (h *Head) Values(name string) []string {
	var values []string
	for i := range h.Fields {
		if equalFold(h.Fields[i].Name, name) {
			values = append(values, h.Fields[i].Value)
		}
	}
	return values
}

// Has reports whether there is a field with a name, in any case.
func (h *Head) Has(name string) bool {
	for i := range h.Fields {
		if equalFold(h.Fields[i].Name, name) {
			return true
		}
	}
	return false
}

// Flaw returns the recorded flaw of a kind.
func (h *Head) Flaw(kind FlawKind) (Flaw, bool) {
	for _, flaw := range h.Flaws {
		if flaw.Kind == kind {
			return flaw, true
		}
	}
	return Flaw{}, false
}

// HasToken reports whether one of the comma-separated lists in values, such as those of
// Connection, contains token in any case (RFC 9110, section 5.6.1).
func HasToken(values []string, token string) bool {
	for element := range elements(values) {
		if equalFold(element, token) {
			return true
		}
	}
	return false
}

// Tokens returns the elements of the comma-separated lists in values, as sent and
// without empty ones. It is for lists of tokens and does not parse quoted strings.
func Tokens(values []string) []string {
	var tokens []string
	for element := range elements(values) {
		tokens = append(tokens, element)
	}
	return tokens
}

// Elements iterates over the elements of a comma-separated list, as sent and without
// empty ones. It is for lists of tokens and does not parse quoted strings.
func Elements(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for element := range strings.SplitSeq(list, ",") {
			// RFC 9110, section 5.6.1.2: empty elements are ignored.
			if element = trimOWS(element); element != "" && !yield(element) {
				return
			}
		}
	}
}

func elements(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, value := range values {
			for element := range Elements(value) {
				if !yield(element) {
					return
				}
			}
		}
	}
}

// equalFold ignores the case of ASCII letters only. To strings.EqualFold the Kelvin sign
// is a k, and so there would be another spelling of "chunked".
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

// trimOWS trims spaces and tabs at both ends (RFC 9110, section 5.6.3).
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

// isControl reports whether c is a control character other than HTAB, which a field
// value may contain (RFC 9110, section 5.5).
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func isToken(c byte) bool { return tokenChars[c] }

// tokenChars is the set tchar of RFC 9110, section 5.6.2.
var tokenChars = func() (set [256]bool) {
	const chars = "!#$%&'*+-.^_`|~0123456789" +
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for i := range len(chars) {
		set[chars[i]] = true
	}
	return set
}()
