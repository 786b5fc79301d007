package terminal

import (
	"strings"
	"testing"
)

// Lines are broken at spaces, only with Wrap, and each line ends its colour.
func TestFold(t *testing.T) {
	for _, tt := range []struct {
		name, line, hang, want string
		width                  int
		piped                  bool
	}{
		{"short", "* a b", "*   ", "* a b", 10, false},
		{"at the edge", "* some words", "*   ", "* some words", 12, false},
		{"past the edge", "* some words", "*   ", "* some\n*   words", 11, false},
		{"piped", "* some words", "*   ", "* some words", 11, true},
		{"no width", strings.Repeat("a", 79) + " b", "  ", strings.Repeat("a", 79) + "\n  b", 0, false},
		{"a wide word", "* " + strings.Repeat("w", 20) + " b", "  ", "* " + strings.Repeat("w", 20) + "\n  b", 10, false},
		{"columns in it", "a     b c", "  ", "a     b\n  c", 8, false},
		{"indented", "      aaaaaa bb", "        ", "      aaaaaa\n        bb", 12, false},
		{"colour", "\x1b[31;1mred words\x1b[0;22m and", "  ", "\x1b[31;1mred\x1b[0m\n  \x1b[31;1mwords\x1b[0;22m\n  and", 7, false},
		{"faint", "\x1b[2mfaint words\x1b[22m and", "", "\x1b[2mfaint\x1b[0m\n\x1b[2mwords\x1b[22m and", 9, false},
	} {
		if got := (Style{Width: tt.width, Wrap: !tt.piped}).Fold(tt.line, tt.hang); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Words after a row begin a line of their own rather than being broken.
func TestFoldRow(t *testing.T) {
	for width, want := range map[int]string{
		20: "  id    some words", 17: "  id\n    some words", 10: "  id\n    some\n    words",
	} {
		if got := (Style{Width: width, Wrap: true}).FoldRow("  id  ", "some words", "    "); got != want {
			t.Errorf("at %d: %q, want %q", width, got, want)
		}
	}
}

// Without a colour, or without text, nothing is added.
func TestPaint(t *testing.T) {
	bold := Colour(func(s string) string { return "<" + s + ">" })
	if got := bold.Paint("a") + bold.Paint("") + Colour(nil).Paint("b") + (Style{}).Good.Paint("c"); got != "<a>bc" {
		t.Errorf("%q", got)
	}
}
