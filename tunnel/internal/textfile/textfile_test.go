package textfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	for _, tt := range []struct{ name, in, want, err string }{
		{"plain", "user:pässwort\r\n", "user:pässwort\r\n", ""},
		{"no UTF-8", "user:p\xe4ss\n", "user:p\xe4ss\n", ""},
		{"empty", "", "", ""},
		{"one byte", "x", "x", ""},
		{"a mark", "\xef\xbb\xbfuser:pw", "user:pw", ""},
		{"a mark alone", "\xef\xbb\xbf", "", ""},
		{"half a mark", "\xef\xbb", "\xef\xbb", ""},
		{"a mark later on", "a\xef\xbb\xbfb", "a\xef\xbb\xbfb", ""},
		{"UTF-16, little end first", "\xff\xfea\x00\xe4\x00=\xd8\x00\xde", "aä😀", ""},
		{"UTF-16, big end first", "\xfe\xff\x00a\x00\xe4\xd8=\xde\x00", "aä😀", ""},
		{"UTF-16 with half a pair", "\xff\xfe=\xd8a\x00", "\ufffda", ""},
		{"UTF-16 cut short", "\xff\xfea\x00b", "", "UTF-16"},
		{"UTF-16 without a mark", "a\x00b\x00", "", "UTF-16"},
		{"the same, big end first", "\x00a\x00b", "", "UTF-16"},
	} {
		got, err := Decode([]byte(tt.in))
		if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	for text, want := range map[string]string{"\xef\xbb\xbfx\r\n": "x\r\n", "s\x00": ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if string(got) != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\xff\xfea\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := Decode(b); err == nil && len(got) > 2*len(b)+3 {
			t.Errorf("%q became %q", b, got)
		}
	})
}
