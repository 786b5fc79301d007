//go:build unix

package realtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Real programs that inspect TLS, each with an authority of its own, before a
// real server whose authority is private: probe tells whose work the certificate
// is, to whom that trusts the inspector as well, and does not take squid, or the
// server's own authority, for an inspector.
func TestRealInterception(t *testing.T) {
	t.Parallel()
	needs(t, "openssl", "mitmdump", "privoxy", "squid")
	dir := t.TempDir()
	authority, target := startPrivateTarget(t, dir)
	inspectors := []struct {
		name, proxy, authority string // "" = it inspects nothing
		by                     string
	}{
		{"squid", squid(t), "", ""},
		{name: "mitmproxy", by: `"mitmproxy"`},
		{name: "privoxy", by: `"Web Gateway CA" of "Acme"`},
	}
	inspectors[1].proxy, inspectors[1].authority = startMitmproxy(t)
	inspectors[2].proxy, inspectors[2].authority = startInspectingPrivoxy(t, authority)
	for _, tt := range inspectors {
		t.Run(tt.name, func(t *testing.T) {
			probes := func(code int, verdict string, arg ...string) {
				t.Helper()
				arg = append([]string{"probe", "--tls", "--tls-unrelated", "none", "--proxy", "http://" + tt.proxy}, arg...)
				// An inspector makes a key for a name that is new to it, which on a
				// busy machine takes longer than probe waits for one of its proofs.
				var stdout, stderr string
				var got int
				for range 3 {
					stdout, stderr, got = runProgram(t, nil, culvert(t), append(arg, target)...)
					if got == code && strings.Contains(stdout, "verdict: "+verdict) {
						return
					}
				}
				t.Errorf("%q: exit %d, want %d and %q: %s\n%s", arg, got, code, verdict, stderr, stdout)
			}
			if tt.authority == "" {
				probes(4, "TLS end to end with the target, but not trusted (")
				probes(0, "open, TLS end to end", "--tls-insecure")
				probes(0, "open, TLS end to end", "--tls-cacert", authority)
				probes(0, "open, TLS end to end", "--tls-cacert", authority, "--tls-no-direct")
				return
			}
			intercepted := "intercepted by " + tt.by
			probes(4, intercepted)
			probes(4, intercepted, "--tls-no-direct")
			probes(4, intercepted, "--tls-insecure")
			probes(4, intercepted, "--tls-cacert", authority)
			probes(4, intercepted, "--tls-cacert", tt.authority)
		})
	}
}

// startPrivateTarget starts openssl's server with a certificate for localhost by
// an authority of our own, whose file is returned.
func startPrivateTarget(t testing.TB, dir string) (authority, target string) {
	at := func(name string) string { return filepath.Join(dir, name) }
	openssl := func(arg ...string) {
		t.Helper()
		if _, stderr, code := runProgram(t, nil, "openssl", arg...); code != 0 {
			t.Fatalf("openssl %q: %s", arg, stderr)
		}
	}
	openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", at("ca.key"), "-out", at("ca.pem"), "-subj", "/O=Example/CN=Example Internal CA", "-days", "30")
	openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", at("leaf.key"), "-out", at("leaf.csr"), "-subj", "/CN=localhost")
	names := write(t, at("names"), "subjectAltName=DNS:localhost\n")
	openssl("x509", "-req", "-in", at("leaf.csr"), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-out", at("leaf.pem"), "-days", "20", "-extfile", names)
	port := freePort(t)
	background(t, "openssl", "s_server", "-accept", "127.0.0.1:"+port, "-cert", at("leaf.pem"), "-key", at("leaf.key"), "-www", "-quiet")
	accepts(t, "127.0.0.1:"+port)
	return at("ca.pem"), "localhost:" + port
}

func startMitmproxy(t *testing.T) (address, authority string) {
	port, dir := freePort(t), t.TempDir()
	background(t, "mitmdump", "--listen-host", "127.0.0.1", "-p", port, "--ssl-insecure", "--set", "confdir="+dir)
	accepts(t, "127.0.0.1:"+port)
	authority = filepath.Join(dir, "mitmproxy-ca-cert.pem")
	eventually(t, "mitmproxy has its authority", func() bool { return contents(authority) != "" })
	return "127.0.0.1:" + port, authority
}

// startInspectingPrivoxy trusts the target's authority.
func startInspectingPrivoxy(t *testing.T, trusts string) (address, authority string) {
	port, dir := freePort(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "made"), 0o755); err != nil {
		t.Fatal(err)
	}
	key, cert := filepath.Join(dir, "ca.key"), filepath.Join(dir, "ca.pem")
	for _, arg := range [][]string{ // its library knows only the old form of keys
		{"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-subj", "/O=Acme/CN=Web Gateway CA", "-days", "30"},
		{"rsa", "-in", key, "-traditional", "-out", key},
	} {
		if _, stderr, code := runProgram(t, nil, "openssl", arg...); code != 0 {
			t.Fatalf("openssl %q: %s", arg, stderr)
		}
	}
	write(t, filepath.Join(dir, "inspect.action"), "{+https-inspection +ignore-certificate-errors}\n/\n")
	config := write(t, filepath.Join(dir, "config"), fmt.Sprintf(`listen-address 127.0.0.1:%s
confdir %[2]s
actionsfile inspect.action
ca-directory %[2]s
ca-cert-file ca.pem
ca-key-file ca.key
certificate-directory %[2]s/made
trusted-cas-file %[3]s
`, port, dir, trusts))
	background(t, "privoxy", "--no-daemon", config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port, cert
}
