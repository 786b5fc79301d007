//go:build unix

package realtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// This file has the proxies that many tests go through.

// user is who the proxies that want credentials know.
const user = "ada:lovelace"

// realProxy is one of the proxies in the tests' matrix. Either function returns
// the address of one: of one that wants no credentials, and of one that wants
// user's.
type realProxy struct {
	name         string
	open, locked func(testing.TB) string
}

var realProxies = []realProxy{
	{"serve", startOpenServe, startLockedServe},
	{"squid", squid, lockedSquid},
	{"tinyproxy", tinyproxy, lockedTinyproxy},
}

var (
	squid           = shared(func(t testing.TB) string { return startSquid(t, "") }, "squid")
	lockedSquid     = shared(func(t testing.TB) string { return startSquid(t, basicOfSquid(t)+squidAsks) }, "squid", "htpasswd")
	tinyproxy       = shared(func(t testing.TB) string { return startTinyproxy(t, "") }, "tinyproxy")
	lockedTinyproxy = shared(func(t testing.TB) string {
		return startTinyproxy(t, "BasicAuth "+strings.Replace(user, ":", " ", 1))
	}, "tinyproxy")
)

// eachProxy runs a test against every real proxy that wants no credentials.
func eachProxy(t *testing.T, test func(t *testing.T, address string)) {
	for _, p := range realProxies {
		t.Run(p.name, func(t *testing.T) { test(t, p.open(t)) })
	}
}

// eachLockedProxy runs a test against every real proxy that wants user's.
func eachLockedProxy(t *testing.T, test func(t *testing.T, address string)) {
	for _, p := range realProxies {
		t.Run(p.name, func(t *testing.T) { test(t, p.locked(t)) })
	}
}

// startOpenServe starts culvert serve with every port allowed.
func startOpenServe(t testing.TB) string {
	t.Helper()
	address, _ := serveWith(t, "--allow", "*:*", "--deny", "127.0.0.9")
	return address
}

func startLockedServe(t testing.TB) string { return startServeFor(t, user) }

// startServeFor wants a user's password, "NAME:PASSWORD".
func startServeFor(t testing.TB, user string) string {
	t.Helper()
	address, _ := serveWith(t, "--allow", "*:*", "--deny", "127.0.0.9", "--users", htpasswdFile(t, user))
	return address
}

// serveWith starts culvert serve and returns where it listens and its stderr.
func serveWith(t testing.TB, arg ...string) (address string, log *lockedBuffer) {
	t.Helper()
	log = background(t, culvert(t), append([]string{"serve", "--listen", "127.0.0.1:0", "--log-format", "json"}, arg...)...)
	return announced(t, log, "listening on http://"), log
}

// htpasswdFile has one user with a password, "NAME:PASSWORD".
func htpasswdFile(t testing.TB, user string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	name, password, _ := strings.Cut(user, ":")
	out, err := exec.Command(needs(t, "htpasswd")[0], "-cbB", path, name, password).CombinedOutput()
	if err != nil {
		t.Fatalf("htpasswd: %v: %s", err, out)
	}
	return path
}

// squidAsks has squid let nobody in without a login.
const squidAsks = "acl known proxy_auth REQUIRED\nhttp_access deny !known\n"

// basicOfSquid has squid know user by a file of passwords.
func basicOfSquid(t testing.TB) string {
	t.Helper()
	file := htpasswdFile(t, user)
	readable(file)
	return "auth_param basic program /usr/lib/squid/basic_ncsa_auth " + file + "\nauth_param basic children 4 startup=1\n"
}

// startSquid puts lines before the last one, which allows everything.
func startSquid(t testing.TB, lines string) string {
	t.Helper()
	squid := needs(t, "squid")[0]
	dir, port := t.TempDir(), freePort(t)
	// squid leaves root for the user proxy, who must reach its files.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777)
	}
	config := write(t, filepath.Join(dir, "squid.conf"), fmt.Sprintf(`
http_port 127.0.0.1:%s
pid_filename none
access_log none
cache_log %s/cache.log
coredump_dir %s
netdb_filename none
pinger_enable off
cache deny all
shutdown_lifetime 0 seconds
forward_timeout 5 seconds
connect_timeout 3 seconds
acl bad dst 127.0.0.9
http_access deny bad
%shttp_access allow all
`, port, dir, dir, lines))
	os.Chmod(config, 0o644)
	background(t, squid, "--foreground", "-f", config, "-n", "culvert"+port)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

// squidOffering returns the address of a squid that wants a login by one of the
// schemes, and knows user.
func squidOffering(t testing.TB, schemes string) string {
	t.Helper()
	if strings.Contains(schemes, "samba") {
		needs(t, "ntlm_auth")
	}
	offering.Lock()
	squid := offering.squids[schemes]
	if squid == nil {
		squid = shared(func(t testing.TB) string {
			lines := ""
			for scheme := range strings.FieldsSeq(schemes) {
				lines += squidScheme(t, scheme)
			}
			return startSquid(t, lines+squidAsks)
		}, "squid")
		offering.squids[schemes] = squid
	}
	offering.Unlock()
	return squid(t)
}

var offering = struct {
	sync.Mutex
	squids map[string]func(testing.TB) string
}{squids: map[string]func(testing.TB) string{}}

// squidScheme has squid offer one authentication scheme, for user. Its NTLM
// helper takes any password: what is tested is the three messages.
func squidScheme(t testing.TB, scheme string) string {
	switch scheme {
	case "digest":
		file := write(t, filepath.Join(t.TempDir(), scheme), user+"\n")
		readable(file)
		return "auth_param digest program /usr/lib/squid/digest_file_auth " + file + "\nauth_param digest realm culvert\nauth_param digest children 4 startup=1\n"
	case "samba": // NTLM, whose sums Samba's helper checks, for this user alone
		dir := t.TempDir()
		config := write(t, filepath.Join(dir, "smb.conf"), "[global]\nworkgroup = CORP\nnetbios name = PROXY\nprivate dir = "+dir+"\nlock directory = "+dir+"\n")
		readable(config)
		return "auth_param ntlm program " + needs(t, "ntlm_auth")[0] + " --configfile=" + config + " --helper-protocol=squid-2.5-ntlmssp" +
			" --username=ada --domain=CORP --password=lovelace\nauth_param ntlm children 4 startup=1\n"
	case "ntlm":
		return "auth_param ntlm program /usr/lib/squid/ntlm_fake_auth\nauth_param ntlm children 4 startup=1\n"
	}
	return "auth_param basic program /usr/lib/squid/basic_fake_auth\nauth_param basic children 4 startup=1\n"
}

func startTinyproxy(t testing.TB, line string) string {
	t.Helper()
	tinyproxy := needs(t, "tinyproxy")[0]
	dir, port := t.TempDir(), freePort(t)
	filter := write(t, filepath.Join(dir, "filter"), `^127\.0\.0\.9$`+"\n")
	config := write(t, filepath.Join(dir, "tinyproxy.conf"), fmt.Sprintf(`
Listen 127.0.0.1
Port %s
Timeout 60
MaxClients 200
Allow 127.0.0.0/8
Filter "%s"
%s
`, port, filter, line))
	background(t, tinyproxy, "-d", "-c", config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}
