package pac

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const direct = "function FindProxyForURL(u, h) { return 'DIRECT' }\n"

func TestLoadFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ok := write("proxy file.pac", "\xef\xbb\xbf"+direct)
	url := "file:///" + strings.TrimPrefix(filepath.ToSlash(strings.ReplaceAll(ok, " ", "%20")), "/")
	for source, want := range map[string]string{
		ok:                                  "",
		url:                                 "",
		strings.Replace(url, "///", "/", 1): "",
		strings.Replace(url, "///", "//localhost/", 1): "",
		strings.Replace(url, "///", "//elsewhere/", 1): "neither a file nor",
		"ftp://host/proxy.pac":                         "neither a file nor",
		"http://":                                      "neither a file nor",
		"":                                             "neither a file nor",
		filepath.Join(dir, "none.pac"):                 "no such file",
		dir:                                            "this is a directory",
		write("comment.pac", "<!-- old -->\n"+direct):       "",
		write("page.html", "\n<!DOCTYPE html><p>x"):         "it is a web page",
		write("empty.pac", " \n"):                           "it is empty",
		write("wide.pac", "\xff\xfef\x00"):                  "it is in UTF-16",
		write("binary.pac", "var a\x00"):                    "it is no text",
		write("long.pac", strings.Repeat(" ", maxScript+1)): "longer than 1048576 bytes",
	} {
		s, err := Load(context.Background(), source)
		var e *Error
		switch {
		case want == "" && (err != nil || !strings.Contains(s.Text, direct) || strings.HasPrefix(s.Text, "\xef")):
			t.Errorf("%s: %v", source, err)
		case want != "" && (!errors.As(err, &e) || e.Stage != StageLoad || e.Source != source || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

// webServer answers as the server of a script may.
func webServer(t *testing.T, start func(http.Handler) *httptest.Server) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/proxy.pac", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, direct) })
	mux.HandleFunc("/html.pac", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, direct)
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "Log in first")
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat(" ", maxScript+1)) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, direct)
	})
	mux.HandleFunc("/agent", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "// %q", r.Header["User-Agent"]) })
	mux.Handle("/moved", http.RedirectHandler("/proxy.pac", http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	mux.Handle("/ftp", http.RedirectHandler("ftp://host/", http.StatusFound))
	mux.Handle("/clear", http.RedirectHandler("http://clear.example/", http.StatusFound))
	mux.HandleFunc("/never", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := start(mux)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)
	return server
}

func TestLoadURL(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	server := webServer(t, httptest.NewTLSServer)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	loader := Loader{TLS: &tls.Config{RootCAs: roots}, UserAgent: "culvert/test", Timeout: time.Minute}
	for path, want := range map[string]string{
		"/proxy.pac": "", "/html.pac": "", "/moved": "",
		"/none":  "the server answered 404 Not Found",
		"/page":  "it is a web page",
		"/long":  "longer than 1048576 bytes",
		"/cut":   "could not be read to its end: unexpected EOF",
		"/round": "elsewhere more than 5 times",
		"/ftp":   "it is said to be at ftp://host/",
		"/clear": "at http://clear.example/, which is not https",
		"/never": "it took longer than 100ms",
	} {
		loader := loader
		if path == "/never" {
			loader.Timeout = 100 * time.Millisecond
		}
		s, err := loader.Load(context.Background(), server.URL+path)
		if want == "" && (err != nil || s.Text != direct || s.Source != server.URL+path) {
			t.Errorf("%s: %v", path, err)
		}
		if want != "" && (err == nil || !strings.HasPrefix(err.Error(), "proxy script "+server.URL+path+": ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if s, err := loader.Load(context.Background(), server.URL+"/agent"); err != nil || !strings.Contains(s.Text, "culvert/test") {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := Load(context.Background(), server.URL+"/proxy.pac"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	secret := strings.Replace(server.URL, "https://", "https://user:secret@", 1)
	if _, err := Load(context.Background(), secret+"/none"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// Every name leads to port 80 of loopback, by the answers of the test's resolver. So the
// test sees the lookups and the connections, and fetches nothing.
func TestDiscover(t *testing.T) {
	resolver := &names{known: map[string]string{}}
	tried := []string{}
	d := Discovery{Loader: &Loader{Resolver: resolver}, Domains: []string{"a.b.example.co.uk", "example.co.uk", "lan", "com", "192.0.2.1", "bad name"},
		Tried: func(host string, why error) { tried = append(tried, host) }}
	_, err := d.Discover(context.Background())
	want := []string{"wpad.a.b.example.co.uk", "wpad.b.example.co.uk", "wpad.example.co.uk"}
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), want[2]) || !slices.Equal(tried, want) {
		t.Errorf("%v, tried %q", err, tried)
	}
	if len(resolver.asked) != 3 || resolver.asked[0] != "ip "+want[0]+"." {
		t.Errorf("asked %q", resolver.asked)
	}
	d.Domains = []string{"lan", "co.uk", "github.io"}
	if _, err := d.Discover(context.Background()); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "in no domain") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d.Domains = []string{"example.com", "example.org"}
	if _, err := d.Discover(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestLoadByAbsoluteName(t *testing.T) {
	server := webServer(t, httptest.NewServer)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	resolver := &names{known: map[string]string{"wpad.example.com.": "127.0.0.1"}}
	loader := Loader{Resolver: resolver}
	s, err := loader.load(context.Background(), "http://wpad.example.com:"+port+"/proxy.pac", true)
	if err != nil || s.Text != direct || !slices.Equal(resolver.asked, []string{"ip wpad.example.com."}) {
		t.Errorf("%v, asked %q", err, resolver.asked)
	}
	if _, err := loader.Load(context.Background(), "http://wpad.example.com:"+port+"/"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("%v", err)
	}
}

func TestDomains(t *testing.T) {
	for _, c := range []struct{ conf, host, want string }{
		{"", "host", ""},
		{"nameserver 192.0.2.1\nsearch A.Example. b.example\n", "host.c.example", "a.example b.example c.example"},
		{"domain a.example\nsearch b.example\n", "host", "b.example"},
		{"search b.example\ndomain a.example", "host.a.example.", "a.example"},
		{"search\n# search x\nsearch .", "host.", ""},
	} {
		if got := strings.Join(domainsOf(c.conf, c.host), " "); got != c.want {
			t.Errorf("%q, %s: %q, want %q", c.conf, c.host, got, c.want)
		}
	}
	for _, d := range systemDomains() {
		if strings.HasSuffix(d, ".") {
			t.Error(d)
		}
	}
	if hosts := wpadHosts(slices.Repeat([]string{"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.example.com"}, 2)); len(hosts) != maxDomains {
		t.Errorf("%d names", len(hosts))
	}
}
