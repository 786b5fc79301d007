package tunnel

import (
	"bytes"
	"testing"
)

func TestWireBytesText(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"HEAD / HTTP/1.0\\r\\n\\r\\n", "HEAD / HTTP/1.0\r\n\r\n"},
		{`a\tb\\n`, "a\tb\\n"},
		{`\x00\xff\x7F`, "\x00\xff\x7f"},
		{"tab\tand line\nas they are", "tab\tand line\nas they are"},
	} {
		var got WireBytes
		if err := got.UnmarshalText([]byte(tt.text)); err != nil || string(got) != tt.want {
			t.Errorf("UnmarshalText(%q) = %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestWireBytesBadText(t *testing.T) {
	for _, text := range []string{`\`, `a\`, `\q`, `\x`, `\x1`, `\xg0`, `\x+1`, `\0`} {
		var got WireBytes
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q) = %q, want an error", text, got)
		}
	}
}

// Escaped bytes are printable, and unescaping restores them.
func FuzzWireBytesLoseNothing(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("\x1b[31m\\x1b\\\\\x00\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := WireBytes(b).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range text {
			if c < ' ' || c > '~' {
				t.Fatalf("%q holds %#x", text, c)
			}
		}
		var back WireBytes
		if err := back.UnmarshalText(text); err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%q became %q, %v", b, back, err)
		}
	})
}

func TestEscapeLine(t *testing.T) {
	for in, want := range map[string]string{
		"Via: x\r\n":   "Via: x",
		"Via: x\n":     "Via: x",
		"Via: x":       "Via: x",
		"a\rb\x1b\r\n": `a\rb\x1b`,
		"a\r\r\n":      `a\r`,
		"\r\n":         "",
	} {
		if got := EscapeLine([]byte(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
