package serve

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"culvert/tunnel/listen"
)

// A password of a next proxy on the command line is noted, one in a file or in the
// environment is not.
func TestViaNotes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "login")
	if err := os.WriteFile(path, []byte("ada:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for via, want := range map[string]bool{
		"http://ada:secret@proxy.test:3128":                                      true,
		"*.corp=http://a.test|http://b.test,http://ada:secret@c.test|direct":     true,
		"http://ada@proxy.test":                                                  false,
		"http://proxy.test?credentials=" + url.PathEscape(path):                  false,
		"*.corp=https://proxy.test?insecure&credentials=" + url.PathEscape(path): false,
	} {
		flags := parse(t, "--via", via)
		s, err := NewServer(flags)
		if err != nil {
			t.Fatal(err)
		}
		notes := ViaNotes(flags, s)
		if got := len(notes) > 0; got != want {
			t.Errorf("%s: notes %q", via, notes)
		}
		if text := strings.Join(notes, " "); strings.Contains(text, "secret") || want && !strings.HasPrefix(text, "the password in --via is visible in the process list") {
			t.Errorf("%s: notes %q", via, notes)
		}
	}
	flags := parse(t)
	flags.Set("via", "http://ada:secret@proxy.test:3128", "CULVERT_SERVE_VIA")
	s, err := NewServer(flags)
	if err != nil {
		t.Fatal(err)
	}
	if notes := ViaNotes(flags, s); notes != nil {
		t.Errorf("from the environment: notes %q", notes)
	}
}

// The sandbox leaves writable what serve writes while it serves.
func TestWritten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		words []string
		want  []string
	}{
		{nil, nil},
		{[]string{"--access-log", "/dev/stdout"}, nil},
		{[]string{"--access-log", "a/access.log", "--listen", "unix:/run/c.sock", "--listen", "127.0.0.1:1"}, []string{"a/access.log", "/run/c.sock"}},
		{[]string{"--acme", "proxy.example.com", "--acme-dir", "/var/acme", "--listen", "https://:443"}, []string{"/var/acme"}},
	} {
		flags := parse(t, tt.words...)
		specs, err := ListenSpecs(flags)
		if err != nil {
			t.Fatal(err)
		}
		if got := written(flags, specs); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.words, got, tt.want)
		}
	}
	if _, err := (listen.ACME{Dir: "x"}).Folder(); err != nil {
		t.Error(err)
	}
}
