package tunnel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithoutUserinfo(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"http://ada:secret@proxy:3128":   "http://***@proxy:3128",
		"http:/ada:secret@proxy":         "***@proxy",
		"ada:sec@ret@proxy:1":            "***@proxy:1",
		"http://ada:secret":              "http://ada:***",
		"ada:secret/x":                   "ada:***/x",
		"http://proxy:3128":              "http://proxy:3128",
		"http://proxy:3128/x?y":          "http://proxy:3128/x?y",
		"[2001:db8::1]:80":               "[2001:db8::1]:80",
		"[::1":                           "[::1",
		"proxy":                          "proxy",
		"":                               "",
		"http://ada:secret@[::1]:x/?a=b": "http://***@[::1]:x/?a=b",
	} {
		if got := WithoutUserinfo(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

// Wherever the separators of a route fall in a malformed URL, no piece of a password
// stands in the error.
func TestRouteErrorsHidePasswords(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"http://ada:secret,x@proxy:1", "http://ada:x,secret@proxy:99999", "http://ada:secret|x@proxy:1", "ada:secret,secret,secret@proxy",
		"http://proxy:1,http://ada:secret,x@proxy", "http://ada:secret", "http://ada:secret@", "http://secret@proxy:x", "ftp://ada:secret@proxy",
		"http//ada:secret@proxy:x", "http:/ada:secret@proxy:x", "http://ada:%zzsecret@proxy", "http://ada:secret\n@proxy", "http://ada:secret@proxy?x=y",
		"https://ada:secret@proxy?cacert=/none", "http://ada:secret@a b", "http://ada:secret@proxy?credentials=none:secret",
	} {
		for name, parse := range map[string]func(string) error{
			"ParseRoute":  func(s string) error { _, err := ParseRoute(s); return err },
			"ParseRoutes": func(s string) error { _, err := ParseRoutes(s); return err },
		} {
			if err := parse(s); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s(%q): %v", name, s, err)
			}
		}
	}
}

// Credentials in the place of the file that holds them are not quoted.
func TestReadCredentialsHidesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	if _, _, err := ReadCredentials("ada:secret"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	path := filepath.Join(t.TempDir(), "ada:file")
	if err := os.WriteFile(path, []byte("ada:secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, _, err := ReadCredentials(path); err != nil || c.Password != "secret" {
		t.Errorf("a name with a colon: %v", err)
	}
}
