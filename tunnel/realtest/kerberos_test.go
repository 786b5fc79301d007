//go:build unix

package realtest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/audit"
	"culvert/tunnel/client"
	"culvert/tunnel/kerberos"
	"culvert/tunnel/tunneltest"
)

// realm is a throw-away Kerberos realm on loopback, with the user ada and the
// service HTTP/localhost.
type realm struct {
	dir  string
	conf string // krb5.conf
	keys string // the service's keytab
	ada  string // the user's keytab
}

// environ points Kerberos programs at the realm, and at a credential cache.
func (r *realm) environ(cache string) []string {
	return append(cleanEnviron(), "KRB5_CONFIG="+r.conf, "KRB5_KDC_PROFILE="+filepath.Join(r.dir, "kdc.conf"), "KRB5CCNAME="+cache)
}

func (r *realm) run(t testing.TB, stdin, name string, arg ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, arg...)
	cmd.Env, cmd.Stdin = r.environ(r.cache("none")), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, arg, err, out)
	}
}

// ticket gets ada's, into a cache of that name: programs add to what they use.
func (r *realm) ticket(t testing.TB, name string) (cache string) {
	t.Helper()
	cache = r.cache(name)
	r.run(t, "lovelace\n", needs(t, "kinit")[0], "-c", cache, "ada")
	return cache
}

func (r *realm) cache(name string) string { return "FILE:" + filepath.Join(r.dir, "cc-"+name) }

// kerberosRealm is the one that tests share.
var kerberosRealm = shared(startRealm, "krb5kdc", "kdb5_util", "kadmin.local", "kinit")

func startRealm(t testing.TB) *realm {
	t.Helper()
	paths := needs(t, "krb5kdc", "kdb5_util", "kadmin.local")
	r := &realm{dir: t.TempDir()}
	for d := r.dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	port := freePort(t)
	r.keys, r.ada = filepath.Join(r.dir, "http.keytab"), filepath.Join(r.dir, "ada.keytab")
	r.conf = write(t, filepath.Join(r.dir, "krb5.conf"), fmt.Sprintf(`
[libdefaults]
default_realm = CULVERT.TEST
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
CULVERT.TEST = {
	kdc = 127.0.0.1:%s
}
[domain_realm]
localhost = CULVERT.TEST
`, port))
	write(t, filepath.Join(r.dir, "kdc.conf"), fmt.Sprintf(`
[kdcdefaults]
kdc_listen = 127.0.0.1:%[1]s
kdc_tcp_listen = 127.0.0.1:%[1]s
[realms]
CULVERT.TEST = {
	database_name = %[2]s/principal
	key_stash_file = %[2]s/stash
	acl_file = %[2]s/acl
	max_life = 1h
}
[logging]
kdc = FILE:%[2]s/kdc.log
`, port, r.dir))
	os.Chmod(r.conf, 0o644)
	r.run(t, "", paths[1], "create", "-s", "-P", "master", "-r", "CULVERT.TEST")
	for _, q := range []string{"addprinc -randkey HTTP/localhost", "ktadd -k " + r.keys + " HTTP/localhost", "addprinc -pw lovelace ada", "addprinc -pw lovelace brief", "ktadd -norandkey -k " + r.ada + " ada"} {
		r.run(t, "", paths[2], "-r", "CULVERT.TEST", "-q", q)
	}
	os.Chmod(r.keys, 0o644)
	// Not background: the KDC finds its realm by the environment.
	kdc := append([]string{"KRB5_CONFIG=" + r.conf, "KRB5_KDC_PROFILE=" + filepath.Join(r.dir, "kdc.conf"), paths[0]}, "-n", "-r", "CULVERT.TEST")
	background(t, needs(t, "env")[0], kdc...)
	accepts(t, "127.0.0.1:"+port)
	return r
}

// Negotiate at squid with a real KDC: by kinit's tickets, by a keytab, and what
// is said where there are none.
func TestRealKerberosAtSquid(t *testing.T) {
	t.Parallel()
	server, r := sshd(t), kerberosRealm(t)
	ada := r.ticket(t, "ada")
	const helper = "/usr/lib/squid/negotiate_kerberos_auth"
	needs(t, helper)
	negotiate := "auth_param negotiate program " + needs(t, "env")[0] + " KRB5_CONFIG=" + r.conf + " KRB5RCACHETYPE=none " + helper + " -k " + r.keys + " -s HTTP/localhost@CULVERT.TEST\nauth_param negotiate children 1\n"
	alone := strings.Replace(startSquid(t, negotiate+squidAsks), "127.0.0.1", "localhost", 1)
	both := strings.Replace(startSquid(t, negotiate+squidScheme(t, "basic")+squidAsks), "127.0.0.1", "localhost", 1)
	for _, tt := range []struct {
		name  string
		cache string
		arg   []string
		code  int
		says  string // in stderr; "" = the tunnel opens
	}{
		{"kinit's ticket", ada, []string{"-x", alone}, 0, "> Proxy-Authorization: Negotiate ***"},
		{"a path without FILE:", strings.TrimPrefix(ada, "FILE:"), []string{"-x", alone, "--auth", "negotiate"}, 0, ""},
		{"a keytab", r.cache("none"), []string{"-x", alone, "--keytab", r.ada, "--principal", "ada@CULVERT.TEST"}, 0, ""},
		{"the strongest of two", ada, []string{"-x", "ada:lovelace@" + both}, 0, "> Proxy-Authorization: Negotiate ***"},
		{"no ticket, but a password", r.cache("none"), []string{"-x", "ada:lovelace@" + both}, 0, "> Proxy-Authorization: Basic ***"},
		{"no ticket", r.cache("none"), []string{"-x", alone}, 5, "it offers Negotiate; there is no ticket in " + strings.TrimPrefix(r.cache("none"), "FILE:") + ": no such file or directory\nhint: get one with kinit\n"},
		{"a kernel's cache", "KEYRING:persistent:0", []string{"-x", alone}, 5, "is of kind KEYRING"},
		{"an unknown service", ada, []string{"-x", strings.Replace(alone, "localhost", "127.0.0.1", 1)}, 5, "knows no service HTTP/127.0.0.1\nhint: name the proxy as its administrator registered it"},
		{"no key in the keytab", r.cache("none"), []string{"-x", alone, "--keytab", r.ada, "--principal", "eve@CULVERT.TEST"}, 5, "no ticket for HTTP/localhost"},
		{"no keytab", r.cache("none"), []string{"-x", alone, "--keytab", "/no/keytab", "--principal", "ada"}, 5, "the keytab /no/keytab: no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), culvert(t), append([]string{"dial", "-v", "--on-eof", "wait", "127.0.0.1:" + server.port}, tt.arg...)...)
			cmd.Env, cmd.Stdin = r.environ(tt.cache), strings.NewReader("no ssh\r\n")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, _ := cmd.Output()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || code == 0 != strings.HasPrefix(string(out), "SSH-2.0-OpenSSH") || !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("exit code %d, want %d, after %q:\n%s", code, tt.code, out, &stderr)
			}
		})
	}
	probe := exec.CommandContext(t.Context(), culvert(t), "probe", "-x", alone, "--audit", "--json", "--check", "connect-carries,head-bytewise,tunnel-parallel,plain-keep-alive,refusal-407",
		"--target-listen", "127.0.0.1:0")
	probe.Env = r.environ(ada)
	out, _ := probe.Output()
	report, err := audit.ReadReport(bytes.NewReader(out))
	if err != nil || report.Login != "negotiate" || report.Summary[0].Pass+report.Summary[1].Pass+report.Summary[2].Pass != len(report.Results) {
		t.Errorf("an audit by a ticket: %v\n%s", err, out)
	}
	// Another client gets through by the same ticket: the realm is right.
	curl := exec.CommandContext(t.Context(), needs(t, "curl")[0], "-sS", "-o", "/dev/null", "-w", "%{http_connect}", "-p", "--proxy-negotiate", "-U", ":", "-x", "http://"+alone, "http://127.0.0.1:"+server.port)
	curl.Env = r.environ(ada)
	if out, _ := curl.Output(); string(out) != "200" {
		t.Errorf("curl's CONNECT: %s", out)
	}
}

// The proxy's own proof is checked: squid's helper, spoken to as squid does,
// makes one with the service's key.
func TestRealKerberosMutual(t *testing.T) {
	t.Parallel()
	r := kerberosRealm(t)
	helper := needs(t, "/usr/lib/squid/negotiate_kerberos_auth")[0]
	prove := func(token []byte) []byte {
		cmd := exec.CommandContext(t.Context(), helper, "-k", r.keys, "-s", "HTTP/localhost@CULVERT.TEST")
		cmd.Env, cmd.Stdin = append(r.environ(""), "KRB5RCACHETYPE=none"), strings.NewReader("YR "+base64.StdEncoding.EncodeToString(token)+"\n")
		out, err := cmd.Output()
		proof, ok := strings.CutPrefix(string(out), "OK token=")
		proof, _, _ = strings.Cut(proof, " ")
		answer, failed := base64.StdEncoding.DecodeString(proof)
		if err != nil || !ok || failed != nil {
			t.Fatalf("the helper said %q, %v, %v", out, err, failed)
		}
		return answer
	}
	source := kerberos.Source{Cache: r.ticket(t, "mutual"), Config: r.conf}
	first, err := source.Negotiator("localhost")
	if err != nil {
		t.Fatal(err)
	}
	token, err := first.Start()
	if err != nil {
		t.Fatal(err)
	}
	proof := prove(token)
	if err := first.Verify(proof); err != nil {
		t.Errorf("the right proof: %v", err)
	}
	other, err := source.Negotiator("LOCALHOST")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if err := other.Verify(proof); err == nil {
		t.Error("the proof for another request was taken")
	}
	proof[len(proof)-1] ^= 1
	for name, forged := range map[string][]byte{"a forged proof": proof, "no token": nil, "a token of ours": token, "garbage": []byte("garbage")} {
		if err := first.Verify(forged); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// A KDC that says nothing does not hold the tunnel up for ever.
func TestRealKerberosSilentKDC(t *testing.T) {
	t.Parallel()
	r := kerberosRealm(t)
	silent := tunneltest.Start(t, tunneltest.Silent)
	text, err := os.ReadFile(r.conf)
	if err != nil {
		t.Fatal(err)
	}
	conf := write(t, filepath.Join(r.dir, "silent.conf"), regexp.MustCompile(`\tkdc = .*`).ReplaceAllString(string(text), "\tkdc = "+silent.Addr()))
	source := kerberos.Source{Cache: r.ticket(t, "silent"), Config: conf, Timeout: 50 * time.Millisecond}
	n, err := source.Negotiator("localhost")
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Start()
	var failed *client.LoginError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "did not answer within 50ms") || !strings.Contains(failed.Hint, "krb5.conf") {
		t.Errorf("the silent KDC: %v", err)
	}
}

// A login by a keytab leaves no goroutine of the library's behind, which renews the
// ticket and would end the program by a panic. The ticket is used again meanwhile.
func TestRealKerberosLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	r := kerberosRealm(t)
	source := kerberos.Source{Keytab: r.ada, Principal: "ada@CULVERT.TEST", Config: r.conf}
	for range 2 {
		n, err := source.Negotiator("localhost")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nothing of the login runs", func() bool {
		stacks := make([]byte, 4<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("enableAutoSessionRenewal"))
	})
}
