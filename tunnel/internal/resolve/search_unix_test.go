//go:build !windows

package resolve

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestReadSearch(t *testing.T) {
	t.Parallel()
	hostname := func() (string, error) { return "host.home.test", nil }
	short := func() (string, error) { return "host", nil }
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string]string{
		"":                                           "{[home.test] 1}",
		"nameserver 192.0.2.1\n":                     "{[home.test] 1}",
		"search a.test b.test\n":                     "{[a.test b.test] 1}",
		"domain a.test\n":                            "{[a.test] 1}",
		"search a.test\ndomain b.test\n":             "{[b.test] 1}",
		"domain b.test\nsearch a.test c.test\n":      "{[a.test c.test] 1}",
		"search a.test\noptions edns0 ndots:5\n":     "{[a.test] 5}",
		"search a.test\noptions ndots:0\n":           "{[a.test] 0}",
		"search .\n":                                 "{[.] 1}",
		"# search a.test\n; search b.test\nsearch\n": "{[home.test] 1}",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(readSearch(path, hostname)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got := fmt.Sprint(readSearch(path+".none", short)); got != "{[] 1}" {
		t.Errorf("without the file: %s", got)
	}
}
