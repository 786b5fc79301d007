package tunnel

import (
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A hop takes its credentials from a file that its URL names.
func TestHopReadsCredentialsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return url.PathEscape(path)
	}
	file := write("good", "ada:se:cret\n", 0o600)
	for _, s := range []string{"http://proxy:1?credentials=" + file, "proxy?credentials=" + file, "socks5h://proxy?credentials=" + file,
		"https://proxy?insecure&credentials=" + file, "h2://proxy?credentials=" + file + "&server-name=x", "h2c://proxy?credentials=" + file} {
		hop, err := ParseHop(s)
		if err != nil || hop.Credentials == nil || hop.Credentials.User != "ada" || hop.Credentials.Password != "se:cret" || !strings.HasSuffix(hop.Credentials.Source, "good") {
			t.Errorf("%s: %+v, %v", s, hop, err)
		}
		if wantTLS := strings.Contains(s, "insecure") || strings.Contains(s, "server-name"); (hop.TLS != nil) != wantTLS {
			t.Errorf("%s: TLS options %v", s, hop.TLS)
		}
		if strings.Contains(hop.String(), "cret") {
			t.Errorf("%s is shown as %s", s, hop)
		}
	}
	// Each hop of a route has a file of its own.
	other := write("other", "eve:2\n", 0o600)
	r, err := ParseRoute("http://a?credentials=" + file + ",http://b?credentials=" + other + ",http://c")
	if err != nil || r.Hops[0].Credentials.User != "ada" || r.Hops[1].Credentials.User != "eve" || r.Hops[2].Credentials != nil {
		t.Errorf("a route: %+v, %v", r, err)
	}
	for s, want := range map[string]string{
		"http://proxy?credentials=":                                      "no value",
		"http://proxy?credentials=/none/there":                           "no such file",
		"http://ada:x@proxy?credentials=" + file:                         "before the @",
		"http://proxy?credentials=" + file + "&credentials=" + file:      "twice",
		"http://proxy?credentials=" + write("two", "secret", 0o600):      "not user:password",
		"http://proxy?credentials=" + write("open", "ada:secret", 0o644): "chmod 600",
		"http://proxy?cacert=x":                                          "for https and h2",
		"socks5h://proxy?credentials=" + file + "&insecure":              "for https and h2",
	} {
		if strings.Contains(want, "chmod") && runtime.GOOS == "windows" {
			continue
		}
		if _, err := ParseHop(s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, want %q", s, err, want)
		}
	}
}
