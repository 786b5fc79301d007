//go:build unix

package realtest

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// curl, which speaks HTTP/1.1 to proxies, trusts by authority, pin or not at
// all, and shows who it is by a certificate or a password.
func TestRealCurlOverTLS(t *testing.T) {
	t.Parallel()
	curl := needs(t, "curl")[0]
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the page\n") })
	secure, plain := httptest.NewTLSServer(page), httptest.NewServer(page)
	defer secure.Close()
	defer plain.Close()
	clients := issue(t, nil, "the clients' authority", tomorrow())
	ada, old := issue(t, clients, "ada", tomorrow()), issue(t, clients, "old", time.Now().Add(-time.Hour))
	users := htpasswdFile(t, "bob:secret")
	open := startSecureServe(t)
	closed := startSecureServe(t, "--tls-client-ca", clients.cert, "--users", users)
	certOnly := startSecureServe(t, "--tls-client-ca", clients.cert)
	for _, tt := range []struct {
		name   string
		serve  *secureServe
		flags  []string
		code   int    // curl's; 0 = the page came
		status string // of the CONNECT
		logged []string
	}{
		{"authority", open, []string{"--proxy-cacert", open.authority.cert}, 0, "200", []string{`"msg":"tunnel close"`, `"listener":"https://`}},
		{"insecure", open, []string{"--proxy-insecure"}, 0, "200", nil},
		{"unknown authority", open, nil, 60, "000", []string{"the client broke the TLS handshake off"}},
		{"certificate", closed, []string{"--proxy-insecure", "--proxy-cert", ada.cert, "--proxy-key", ada.pem}, 0, "200", []string{`"user":"ada"`, `"tunnel close"`}},
		{"password instead", closed, []string{"--proxy-insecure", "-U", "bob:secret"}, 0, "200", []string{`"user":"bob"`, `"tunnel close"`}},
		{"neither", closed, []string{"--proxy-insecure"}, 56, "407", []string{`"status":407`}},
		{"no certificate", certOnly, []string{"--proxy-insecure"}, 56, "403", []string{`"status":403`, "this proxy wants a client certificate"}},
		{"expired certificate", certOnly, []string{"--proxy-insecure", "--proxy-cert", old.cert, "--proxy-key", old.pem}, 56, "000",
			[]string{`"error":"tls_certificate_error"`, "the client's certificate is refused: CN=old, issued by CN=the clients' authority: valid from"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			arg := append([]string{"-sS", "-k", "-x", "https://" + tt.serve.address, "-w", "%{http_connect}", secure.URL}, tt.flags...)
			stdout, stderr, code := runProgram(t, nil, curl, arg...)
			want := tt.status
			if tt.code == 0 {
				want = "the page\n" + want
			}
			if code != tt.code || stdout != want {
				t.Errorf("curl printed %q, %q and ended with %d; want %q and %d", stdout, stderr, code, want, tt.code)
			}
			if tt.logged != nil {
				tt.serve.logs(t, tt.logged...)
			}
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		stdout, stderr, code := runProgram(t, nil, curl, "-sS", "--proxy-cacert", open.authority.cert, "-x", "https://"+open.address, plain.URL, plain.URL, "-w", "%{num_connects} ")
		if code != 0 || stdout != "the page\n1 the page\n0 " {
			t.Errorf("curl printed %q, %q and ended with %d", stdout, stderr, code)
		}
	})
}

// What serve says about a self-signed certificate works as it is printed: dial's line, with
// the pin, and curl's, with the file. The file is removed at the end.
func TestSelfSignedAdviceWorks(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "sh")
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the page") }))
	defer page.Close()
	target := strings.TrimPrefix(page.URL, "http://")
	host, port, _ := net.SplitHostPort(target)
	for _, listen := range []string{"https://127.0.0.1:0", "https://[::1]:0", "https://0.0.0.0:0"} {
		t.Run(listen, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a folder's name")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), culvert(t), "serve", "--listen", listen, "--tls-self-signed", "--allow", "*:*",
				"--allow-client", "127.0.0.0/8", "--allow-client", "::1", "--allow-addr", "loopback")
			cmd.Env = append(os.Environ(), "TMPDIR="+dir)
			s := startServing(t, cmd)
			said := func(words string) string {
				_, command, _ := strings.Cut(s.line(words), "to try it: ")
				return command
			}
			dial, curl := said("to try it: culvert dial"), said("to try it: curl")
			run := func(command, stdin string) string {
				cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
				cmd.Env = append(os.Environ(), "NO_PROXY=", "no_proxy=")
				cmd.Stdin = strings.NewReader(stdin)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("%s: %v", command, err)
				}
				return string(out)
			}
			if got := run(strings.NewReplacer("culvert ", culvert(t)+" ", "HOST PORT", host+" "+port).Replace(dial), "GET / HTTP/1.0\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\nthe page") {
				t.Errorf("%s: %q", dial, got)
			}
			if got := run(strings.Replace(curl, " URL", " -sS -p "+page.URL, 1), ""); got != "the page" {
				t.Errorf("%s: %q", curl, got)
			}
			// Another pin is none.
			pin, other := "sha256//", "sha256//"+strings.Repeat("A", 43)+"="
			_, rest, _ := strings.Cut(dial, pin)
			pin += strings.Fields(rest)[0]
			wrong := exec.CommandContext(t.Context(), culvert(t), strings.Fields(strings.NewReplacer("culvert ", "", pin, other, "'", "", "HOST PORT", target).Replace(dial))...)
			if err := wrong.Run(); wrong.ProcessState.ExitCode() != 4 {
				t.Errorf("with another pin: %v", err)
			}
			s.signal(syscall.SIGTERM)
			s.ends()
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// The files are read anew when they change, without a restart; a broken pair
// changes nothing, and is told of.
func TestCertificateIsReadAnew(t *testing.T) {
	t.Parallel()
	s := startSecureServe(t)
	shown := func() string {
		conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := shown(); got != "proxy" {
		t.Fatalf("the certificate is %s's", got)
	}
	write(t, s.own.cert, "broken")
	eventually(t, "the broken pair is told of", func() bool {
		return shown() == "proxy" && strings.Contains(s.log.String(), "the changed certificate cannot be used, the one before stays")
	})
	next := issue(t, s.authority, "next", tomorrow())
	for from, to := range map[string]string{next.cert: s.own.cert, next.pem: s.own.pem} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, to, string(text))
	}
	eventually(t, "the new pair is used", func() bool { return shown() == "next" })
	s.logs(t, "the certificate was read anew")
}

// Either way to get the port wrong is answered, and logged as what it is.
func TestWrongProtocolOnAPort(t *testing.T) {
	t.Parallel()
	s := startSecureServe(t)
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(bound))
	io.WriteString(conn, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	reply, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(reply), "HTTP/1.1 400 ") || !strings.HasSuffix(string(reply), "plain HTTP came to a port that speaks TLS: use https:// for this proxy\n") {
		t.Errorf("the TLS port answered plain HTTP with %q, %v", reply, err)
	}
	s.logs(t, `"error":"http_request_error"`, "plain HTTP came to a port that speaks TLS")

	_, err = tls.Dial("tcp", s.plain, &tls.Config{InsecureSkipVerify: true})
	if err == nil || !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") && !strings.Contains(err.Error(), "first record does not look like a TLS handshake") {
		t.Errorf("a TLS client at the plain port is told %v", err)
	}
	s.logs(t, `"error":"http_request_error"`, "TLS came to a port that speaks plain HTTP: use http:// for this proxy")

	garbage, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer garbage.Close()
	garbage.SetDeadline(time.Now().Add(bound))
	garbage.Write(bytes.Repeat([]byte{0xff, 0x00}, 50))
	io.Copy(io.Discard, garbage)
	s.logs(t, `"error":"tls_protocol_error"`, "what came to a port that speaks TLS is no TLS")
}

// A thousand clients that begin a handshake and leave it at that hold nobody
// up, and are gone after the header timeout.
func TestHalfOpenHandshakes(t *testing.T) {
	t.Parallel()
	s := startSecureServe(t, "--header-timeout", "2s")
	hello := []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03}
	conns := make([]net.Conn, 1000)
	for i := range conns {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(3 * bound))
		conn.Write(hello)
		conns[i] = conn
	}
	origin := httptest.NewServer(http.NotFoundHandler())
	defer origin.Close()
	proxy := &url.URL{Scheme: "https", Host: s.address}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	reply, err := client.Get(origin.URL)
	if err != nil {
		t.Fatalf("beside them: %v", err)
	}
	reply.Body.Close()
	for i, conn := range conns {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Fatalf("half-open handshake %d ended with %v", i, err)
		}
	}
	s.logs(t, "the TLS handshake did not end in time")
}

// TLS 1.2 and 1.3 are spoken, older versions are not; ALPN chooses.
func TestRealOpenSSLHandshakes(t *testing.T) {
	t.Parallel()
	openssl := needs(t, "openssl")[0]
	s := startSecureServe(t)
	for _, tt := range []struct {
		flags []string
		code  int
		want  string
	}{
		{[]string{"-tls1_3", "-alpn", "h2,http/1.1"}, 0, "ALPN protocol: h2"},
		{[]string{"-tls1_2", "-alpn", "http/1.1"}, 0, "ALPN protocol: http/1.1"},
		{[]string{"-tls1_2"}, 0, "No ALPN negotiated"},
		{[]string{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, 1, "protocol version"},
		{[]string{"-tls1_3", "-alpn", "smtp"}, 1, "no application protocol"},
	} {
		arg := append([]string{"s_client", "-connect", s.address, "-CAfile", s.authority.cert, "-verify_return_error"}, tt.flags...)
		stdout, stderr, code := runProgram(t, strings.NewReader(""), openssl, arg...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("openssl %q: exit %d, want %d and %q:\n%s\n%s", tt.flags, code, tt.code, tt.want, stdout, stderr)
		}
	}
	s.logs(t, `"error":"tls_protocol_error"`, "unsupported application protocols")
}
