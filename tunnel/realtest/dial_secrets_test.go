//go:build unix

package realtest

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// The relay behind --fdpass lives as long as its tunnel. Nothing secret stands among its
// arguments, which everybody on the machine can read, and it has the credentials all the
// same, also those that can be read, or asked for, only once.
func TestRelayHasNoSecretInItsArguments(t *testing.T) {
	t.Parallel()
	const secret = "S3cretPw"
	for _, tt := range []struct {
		name  string
		words []string
		pipe  bool // descriptor 0 of dial is a pipe with the credentials
		field string
	}{
		{"a URL", []string{"-x", "https://ada:" + secret + "@PROXY", "--auth", "basic"}, false, "Basic YWRhOlMzY3JldFB3"},
		{"a field", []string{"-x", "https://PROXY", "-H", "Proxy-Authorization: " + secret}, false, secret},
		{"a command", []string{"-x", "https://PROXY", "--credentials-command", "mkdir DIR/asked && echo ada:" + secret, "--auth", "basic"}, false, "Basic YWRhOlMzY3JldFB3"},
		{"a pipe", []string{"-x", "https://PROXY", "--proxy-credentials", "/dev/fd/0", "--auth", "basic"}, true, "Basic YWRhOlMzY3JldFB3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			heads := make(chan string, 1)
			proxy := tunneltest.Start(t, func(conn net.Conn) {
				secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{testkit.TestCertificate()}})
				buf := make([]byte, 4096)
				n, err := secured.Read(buf)
				if err != nil {
					return
				}
				heads <- string(buf[:n])
				io.WriteString(secured, "HTTP/1.1 200 OK\r\n\r\nhello")
				io.Copy(io.Discard, secured)
			}).Addr()
			dir := t.TempDir()
			words := append([]string{"-k", "-F"}, tt.words...)
			for i := range words {
				words[i] = strings.NewReplacer("PROXY", proxy, "DIR", dir).Replace(words[i])
			}
			stdin := (*os.File)(nil)
			if tt.pipe {
				r, w := pipe(t)
				io.WriteString(w, "ada:"+secret+"\n")
				w.Close()
				stdin = r
			}
			ours, theirs := rawSocketPair(t)
			d := startDial(t, stdin, theirs, append(words, "--", "target.test:22")...)
			d.wantExit(t, 0)
			conn := received(t, ours)
			conn.SetDeadline(time.Now().Add(bound))
			got := make([]byte, 5)
			if _, err := io.ReadFull(conn, got); string(got) != "hello" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			if head := <-heads; !strings.Contains(head, "Proxy-Authorization: "+tt.field+"\r\n") {
				t.Errorf("the proxy got %q", head)
			}
			relays := relaysTo(t, proxy)
			if len(relays) != 1 {
				t.Fatalf("relays: %q", relays)
			}
			arguments, err := os.ReadFile(filepath.Join(filepath.Dir(relays[0]), "cmdline"))
			if err != nil || strings.Contains(string(arguments), secret) || !strings.Contains(string(arguments), "target.test:22") {
				t.Errorf("its arguments are %q, %v", arguments, err)
			}
		})
	}
}
