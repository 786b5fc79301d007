package tunnel

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestReadCredentials(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Credentials
		err        string
	}{
		{"line", "me:secret\n", Credentials{User: "me", Password: "secret"}, ""},
		{"no line end", "me:secret", Credentials{User: "me", Password: "secret"}, ""},
		{"CR LF", "me:secret\r\n", Credentials{User: "me", Password: "secret"}, ""},
		{"a byte order mark", "\xef\xbb\xbfme:secret\r\n", Credentials{User: "me", Password: "secret"}, ""},
		{"UTF-16", "\xff\xfem\x00e\x00:\x00s\x00\r\x00\n\x00", Credentials{User: "me", Password: "s"}, ""},
		{"UTF-16 without a byte order mark", "m\x00e\x00:\x00s\x00", Credentials{}, "UTF-16"},
		{"empty lines behind", "me:secret\n\n\n", Credentials{User: "me", Password: "secret"}, ""},
		{"colons, spaces and percent in the password", "me:a:b @%41\n", Credentials{User: "me", Password: "a:b @%41"}, ""},
		{"empty password", "me:\n", Credentials{User: "me"}, ""},
		{"empty", "", Credentials{}, "not user:password"},
		{"no colon", "secret\n", Credentials{}, "not user:password"},
		{"no user", ":secret\n", Credentials{}, "not user:password"},
		{"two lines", "me:secret\nyou:secret\n", Credentials{}, "more than one line"},
		{"control character", "me:secret\x01\n", Credentials{}, "control character"},
		{"too large", strings.Repeat("a", 17<<10), Credentials{}, "larger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "credentials")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, exposed, err := ReadCredentials(path)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "secret") {
					t.Errorf("error %v, want %q in it", err, tt.err)
				}
				return
			}
			if got != tt.want || exposed || err != nil {
				t.Errorf("got %+v, %t, %v; want %+v", got, exposed, err, tt.want)
			}
		})
	}
	if _, _, err := ReadCredentials(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("missing file: %v", err)
	}
}

func TestReadCredentialsTellsExposed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing there")
	}
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o644: true} {
		path := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(path, []byte("a:b"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, exposed, err := ReadCredentials(path); exposed != want || err != nil {
			t.Errorf("mode %o: exposed %t, %v; want %t", mode, exposed, err, want)
		}
	}
}
