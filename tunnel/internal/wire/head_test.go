package wire

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// readRequest reads a request from s and returns what was left in the reader.
func readRequest(s string) (*Request, string, error) {
	br := bufio.NewReader(strings.NewReader(s))
	q, err := ReadRequest(br, 0)
	rest, _ := io.ReadAll(br)
	return q, string(rest), err
}

// readReply is readRequest for a reply.
func readReply(s string) (*Reply, string, error) {
	br := bufio.NewReader(strings.NewReader(s))
	p, err := ReadReply(br, 0)
	rest, _ := io.ReadAll(br)
	return p, string(rest), err
}

// headError returns the *HeadError that err must be.
func headError(t *testing.T, err error) *HeadError {
	t.Helper()
	var e *HeadError
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *HeadError", err)
	}
	return e
}

// kinds returns the IDs of flaws, sorted, with commas.
func kinds(flaws []Flaw) string {
	var ids []string
	for _, flaw := range flaws {
		ids = append(ids, flaw.Kind.ID())
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

func TestHeadLookups(t *testing.T) {
	h := Head{Fields: []Field{{"Via", "1.1 a"}, {"VIA", "1.1 b"}, {"Empty", ""}}}
	if got := h.Get("via"); got != "1.1 a" {
		t.Errorf("Get = %q, want the first value", got)
	}
	if got := h.Values("vIa"); !slices.Equal(got, []string{"1.1 a", "1.1 b"}) {
		t.Errorf("Values = %q", got)
	}
	if !h.Has("empty") || h.Has("none") || h.Get("none") != "" || h.Values("none") != nil {
		t.Error("Has, Get or Values is wrong about an empty or missing field")
	}
}

func TestFieldNamesFoldInASCIIOnly(t *testing.T) {
	h := Head{Fields: []Field{{"Ho\u017ft", "long s"}, {"\u212aeep-Alive", "Kelvin sign"}}}
	if h.Has("Host") || h.Has("Keep-Alive") {
		t.Error("a letter beyond ASCII was taken for one of ASCII")
	}
}

func TestTokens(t *testing.T) {
	values := []string{"close, Foo\t,", "", ",,bar"}
	if got := Tokens(values); !slices.Equal(got, []string{"close", "Foo", "bar"}) {
		t.Errorf("Tokens = %q", got)
	}
	for token, want := range map[string]bool{"CLOSE": true, "foo": true, "bar": true, "ba": false, "": false, "close, foo": false} {
		if got := HasToken(values, token); got != want {
			t.Errorf("HasToken(%q) = %v, want %v", token, got, want)
		}
	}
	if HasToken([]string{"chun\u212aed"}, "chunked") {
		t.Error("the Kelvin sign was taken for a k")
	}
}

func TestFlawKindsHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for kind := NoFlaw + 1; int(kind) < len(flawTexts); kind++ {
		if kind.String() == "" || kind.ID() == "" || flawTexts[kind].detail == "" || seen[kind.ID()] {
			t.Errorf("kind %d: words, ID or detail is missing, or the ID %q is taken", kind, kind.ID())
		}
		seen[kind.ID()] = true
	}
}

func TestHeadErrorText(t *testing.T) {
	err := &HeadError{Problem: Truncated, Detail: "too short", Err: io.ErrUnexpectedEOF}
	if got := err.Error(); got != "truncated: too short: unexpected EOF" {
		t.Errorf("Error() = %q", got)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the read error is not beneath")
	}
}

func TestEscape(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		limit    int
		want     string
	}{
		{"printable ASCII as it is", `HTTP/1.1 "200" ~`, 0, `HTTP/1.1 "200" ~`},
		{"line ends, tab, backslash", "a\r\n\t\\", 0, `a\r\n\t\\`},
		{"terminal escape", "\x1b[31m\x9b\x7f\x00", 0, `\x1b[31m\x9b\x7f\x00`},
		{"UTF-8 byte by byte", "ü", 0, `\xc3\xbc`},
		{"as long as the limit", "abcd", 4, "abcd"},
		{"longer than the limit", "abcde", 4, "abcd..."},
		{"no escape is cut", "abc\x00", 6, "abc..."},
		{"nothing fits", "\x00", 1, "..."},
		{"empty", "", 4, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Escape([]byte(tt.in), tt.limit); got != tt.want {
				t.Errorf("Escape(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
			}
		})
	}
}
