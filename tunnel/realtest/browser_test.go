//go:build unix

package realtest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
)

// A browser reaches serve over TLS, chooses HTTP/2 by ALPN, and loads a page of
// each scheme through it.
func TestRealBrowserOverHTTP2(t *testing.T) {
	t.Parallel()
	browser := needs(t, "chromium")[0]
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "<html><body>the page of "+r.Host+"</body></html>")
	})
	secure, plain := httptest.NewTLSServer(page), httptest.NewServer(page)
	defer secure.Close()
	defer plain.Close()
	// What a browser asks for by itself stays here: no other name is resolved.
	_, log := serveWith(t, "--listen", "https://127.0.0.1:0", "--tls-self-signed", "--allow", "localhost:*")
	proxy := secureAddress(t, log)
	for _, origin := range []string{secure.URL, plain.URL} {
		at, _ := url.Parse(origin)
		at.Host = "localhost:" + at.Port()
		ctx, cancel := context.WithTimeout(t.Context(), 3*bound)
		defer cancel()
		cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
			"--disable-background-networking", "--user-data-dir="+t.TempDir(), "--ignore-certificate-errors",
			"--proxy-server=https://"+proxy, "--proxy-bypass-list=<-loopback>", "--dump-dom", at.String())
		cmd.Env = append(cleanEnviron(), "HOME="+t.TempDir())
		dom, err := cmd.Output()
		if want := "the page of " + at.Host; err != nil || !strings.Contains(string(dom), want) {
			t.Errorf("the browser shows %.300q, %v; want %q", dom, err, want)
		}
		method := `"method":"CONNECT"`
		if at.Scheme == "http" {
			method = `"method":"GET"`
		}
		eventually(t, "a line of the log says so", func() bool {
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, `"protocol":"http/2",`+method) && strings.Contains(line, `"target":"`+at.Host+`"`) {
					return true
				}
			}
			return false
		})
	}
}
