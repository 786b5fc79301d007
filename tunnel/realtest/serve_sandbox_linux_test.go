package realtest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/internal/testkit"
)

// needsLandlock skips the test if a served proxy, whose start has been read up to its
// addresses, says that the kernel has no Landlock. It returns what it says of files.
func (s *served) needsLandlock(t *testing.T) string {
	t.Helper()
	line := s.line("sandbox: ")
	if strings.Contains(line, "this kernel has no Landlock") {
		t.Skip("this kernel, or the container, has no Landlock")
	}
	written, ok := strings.CutPrefix(line, "culvert serve: sandbox: no core dumps, no tracing, no new privileges, no program is run, ")
	if !ok {
		t.Fatalf("serve says %q", line)
	}
	return written
}

// In the sandbox serve reads what administrators replace in their ways, opens its log
// again, and removes its socket.
func TestServeInItsSandbox(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	for _, folder := range []string{"log", "run", "live", "archive", "etc"} {
		if err := os.Mkdir(at(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// As certbot has it: names in live lead to numbered files in archive.
	authority := issue(t, nil, "authority", tomorrow())
	certify := func(n int) string {
		c := issue(t, authority, fmt.Sprint("certificate ", n), tomorrow())
		for name, from := range map[string]string{"cert": c.cert, "key": c.pem} {
			numbered := write(t, at("archive", fmt.Sprint(name, n, ".pem")), contents(from))
			if err := os.Symlink(numbered, at("live", name+".new")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(at("live", name+".new"), at("live", name+".pem")); err != nil {
				t.Fatal(err)
			}
		}
		return c.leaf.Subject.CommonName
	}
	first := certify(1)
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(htpasswdFile(t, "ada:old"), at("etc", "users"))
	s := serving(t, "--listen", "https://127.0.0.1:0", "--listen", "unix:"+at("run", "socket"), "--tls-cert", at("live", "cert.pem"), "--tls-key", at("live", "key.pem"),
		"--users", at("etc", "users"), "--access-log", at("log", "access.log"), "--allow", "*:*")
	_, secure, _ := strings.Cut(s.line("listening on https://"), "https://")
	if written, want := s.needsLandlock(t), "files are written in "+at("log")+", "+at("run")+" only"; written != want {
		t.Errorf("it says %s, want %s", written, want)
	}
	status := contents(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if !strings.Contains(status, "NoNewPrivs:\t1") {
		t.Errorf("its status is %s", status)
	}
	shows := func(want string) {
		t.Helper()
		conn, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("it shows %s, want %s", got, want)
		}
	}
	tried := func(password string) string {
		t.Helper()
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(bound))
		fmt.Fprintf(conn, "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", base64.StdEncoding.EncodeToString([]byte("ada:"+password)))
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(line)[1]
	}
	shows(first)
	if got := tried("old"); got != "502" {
		t.Errorf("the first password: %s", got)
	}
	waitLines(t, at("log", "access.log"), 1)

	second := certify(2)
	rename(htpasswdFile(t, "ada:new"), at("etc", "users"))
	rename(at("log", "access.log"), at("log", "access.log.1"))
	s.signal(syscall.SIGHUP)
	s.line("log " + at("log", "access.log") + " opened again")
	eventually(t, "the new certificate is shown", func() bool {
		conn, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName == second
	})
	eventually(t, "the new password counts", func() bool { return tried("new") == "502" })
	if got := tried("old"); got != "407" {
		t.Errorf("the old password: %s", got)
	}
	eventually(t, "the new log is written", func() bool { return strings.Contains(contents(at("log", "access.log")), "user=ada") })
	s.signal(syscall.SIGTERM)
	s.ends()
	if _, err := os.Lstat(at("run", "socket")); !os.IsNotExist(err) {
		t.Errorf("the socket's file is left: %v", err)
	}
}

// The name server that resolv.conf has come to name is asked.
func TestServeInItsSandboxReadsResolvConf(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespace(t) {
		return
	}
	testkit.ReplaceFile(t, "/etc/hosts", "127.0.0.1 localhost\n")
	testkit.ReplaceFile(t, "/etc/nsswitch.conf", "hosts: files dns\n")
	testkit.ReplaceFile(t, "/etc/resolv.conf", "nameserver 127.0.0.9\n")
	s := serving(t)
	if written := s.needsLandlock(t); written != "no file written" {
		t.Errorf("it says %s", written)
	}
	questions := testkit.ListenUDP(t, "127.0.0.1:53")
	questions.SetReadDeadline(time.Now().Add(bound))
	testkit.ReplaceFile(t, "/etc/resolv.conf", "nameserver 127.0.0.1\n")
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "CONNECT found.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	asked := make([]byte, 512)
	if n, _, err := questions.ReadFrom(asked); !strings.Contains(string(asked[:n]), "found") || err != nil {
		t.Errorf("the server was asked %q, %v", asked[:n], err)
	}
}

// --no-sandbox leaves everything as it is, and says so.
func TestServeWithoutItsSandbox(t *testing.T) {
	t.Parallel()
	s := serving(t, "--no-sandbox")
	if line := s.line("sandbox: "); line != "culvert serve: sandbox: off" {
		t.Errorf("serve says %q", line)
	}
	if status := contents(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid)); !strings.Contains(status, "NoNewPrivs:\t0") {
		t.Errorf("its status is %s", status)
	}
	s.signal(syscall.SIGTERM)
	s.ends()
}

// The command of dial --exec has nothing of what serve takes from itself, and of what the
// runtime changes for itself: limits, ignored signals, privileges.
func TestExecInheritsNoHardening(t *testing.T) {
	t.Parallel()
	sh := needs(t, "sh")[0]
	const script = `ulimit -Sn; ulimit -Hn; grep -E "^(SigIgn|SigBlk|NoNewPrivs|Seccomp):" /proc/self/status; test -O /proc/self/environ && echo dumpable`
	run := func(words ...string) string {
		t.Helper()
		out, stderr, code := runProgram(t, nil, sh, append([]string{"-c", `ulimit -Sn 500; exec "$@"`, "sh"}, words...)...)
		if code != 0 {
			t.Fatalf("%q: exit code %d, %s", words, code, stderr)
		}
		return out + stderr
	}
	want := run(sh, "-c", script)
	got := run(culvert(t), "dial", "-x", honest(t), "--exec", "a.test:22", "--", sh, "-c", "("+script+") >&2")
	if got != want {
		t.Errorf("the command has\n%swithout dial\n%s", got, want)
	}
}
