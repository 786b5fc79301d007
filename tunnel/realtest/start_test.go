//go:build unix

package realtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// This file starts the programs that the tests talk to: on
// loopback, with throw-away configurations and keys, ended by pid.

// needs finds programs, or skips the test with its reason; under CULVERT_REAL=1
// a missing one is a failure, so that CI cannot skip by accident.
func needs(t *testing.T, names ...string) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the real parts are started as on Linux")
	}
	paths := make([]string, len(names))
	for i, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			path, err = exec.LookPath("/usr/sbin/" + name)
		}
		if err != nil {
			if os.Getenv("CULVERT_REAL") == "1" {
				t.Fatalf("%s is not installed, and CULVERT_REAL=1", name)
			}
			t.Skipf("%s is not installed", name)
		}
		paths[i] = path
	}
	return paths
}

// background starts a program and ends it with the test. What it printed is
// shown if the test failed.
func background(t *testing.T, name string, arg ...string) *lockedBuffer {
	t.Helper()
	cmd := exec.Command(name, arg...)
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // helpers of its own end with it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(bound, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		cmd.Wait()
		timer.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(name), out)
		}
	})
	return out
}

// lockedBuffer takes a program's output while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// freePorts are below those that connections get by themselves: what tests that
// run beside dial out from, or listen on, takes none away.
var freePorts atomic.Int32

// freePort is a port that was free a moment ago, for programs that cannot take
// one themselves. No other test of this process is given it.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(20000 + (os.Getpid()*100+int(freePorts.Add(1)))%10000)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// eventually waits until ok says yes, at most bound.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(bound)
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("timed out waiting: %s", what)
		}
	}
}

// accepts waits until something listens on the address.
func accepts(t *testing.T, address string) {
	t.Helper()
	eventually(t, address+" accepts", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// realProxy is one of the proxies in the tests' matrix.
type realProxy struct {
	name  string
	start func(t *testing.T, users string) (address string) // users: "NAME:PASSWORD", "" = none wanted
}

var realProxies = []realProxy{
	{"serve", startServe}, {"squid", startSquid}, {"tinyproxy", startTinyproxy},
}

// startServe starts culvert serve with every port allowed.
func startServe(t *testing.T, users string) string {
	arg := []string{"--allow", "*:*", "--deny", "127.0.0.9"}
	if users != "" {
		arg = append(arg, "--users", htpasswdFile(t, users))
	}
	address, _ := serveWith(t, arg...)
	return address
}

// serveWith starts culvert serve and returns where it listens and its stderr.
func serveWith(t *testing.T, arg ...string) (address string, log *lockedBuffer) {
	t.Helper()
	log = background(t, culvert(t), append([]string{"serve", "--listen", "127.0.0.1:0", "--log-format", "json"}, arg...)...)
	const announced = "culvert serve: listening on http://"
	eventually(t, "serve listens", func() bool { return strings.Contains(log.String(), announced) })
	_, rest, _ := strings.Cut(log.String(), announced)
	address, _, _ = strings.Cut(rest, "\n")
	return address, log
}

func htpasswdFile(t *testing.T, users string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	name, password, _ := strings.Cut(users, ":")
	out, err := exec.Command(needs(t, "htpasswd")[0], "-cbB", path, name, password).CombinedOutput()
	if err != nil {
		t.Fatalf("htpasswd: %v: %s", err, out)
	}
	return path
}

func startSquid(t *testing.T, users string) string {
	if users == "" {
		return startSquidAsking(t, nil)
	}
	name, password, _ := strings.Cut(users, ":")
	return startSquidAsking(t, func(dir string) string {
		file := filepath.Join(dir, "users")
		if out, err := exec.Command(needs(t, "htpasswd")[0], "-cbm", file, name, password).CombinedOutput(); err != nil {
			t.Fatalf("htpasswd: %v: %s", err, out)
		}
		os.Chmod(file, 0o644)
		return "auth_param basic program /usr/lib/squid/basic_ncsa_auth " + file + "\n"
	})
}

// startSquidAsking has a squid ask for logins; asking writes the auth_param
// lines, and what they need into the folder. nil = it asks for none.
func startSquidAsking(t *testing.T, asking func(dir string) string) string {
	return startSquidWith(t, func(dir string) string {
		if asking == nil {
			return ""
		}
		return asking(dir) + "acl known proxy_auth REQUIRED\nhttp_access deny !known\n"
	})
}

// startSquidWith puts lines before the last one, which allows everything.
func startSquidWith(t *testing.T, lines func(dir string) string) string {
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
`, port, dir, dir, lines(dir)))
	os.Chmod(config, 0o644)
	background(t, squid, "--foreground", "-f", config, "-n", "culvert"+port)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

func startTinyproxy(t *testing.T, users string) string {
	tinyproxy := needs(t, "tinyproxy")[0]
	dir, port := t.TempDir(), freePort(t)
	auth := ""
	if users != "" {
		auth = "BasicAuth " + strings.Replace(users, ":", " ", 1)
	}
	filter := write(t, filepath.Join(dir, "filter"), `^127\.0\.0\.9$`+"\n")
	config := write(t, filepath.Join(dir, "tinyproxy.conf"), fmt.Sprintf(`
Listen 127.0.0.1
Port %s
Timeout 60
MaxClients 200
Allow 127.0.0.0/8
Filter "%s"
%s
`, port, filter, auth))
	background(t, tinyproxy, "-d", "-c", config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

// sshServer is a real sshd with keys made for the test.
type sshServer struct {
	port, dir string
}

func startSSHD(t *testing.T) *sshServer {
	t.Helper()
	paths := needs(t, "sshd", "ssh", "ssh-keygen")
	s := &sshServer{port: freePort(t), dir: t.TempDir()}
	for _, key := range []string{"host", "user"} {
		out, err := exec.Command(paths[2], "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.dir, key)).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	if os.Geteuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // sshd's privilege separation wants it
	}
	config := write(t, filepath.Join(s.dir, "sshd_config"), fmt.Sprintf(`
ListenAddress 127.0.0.1:%s
HostKey %s/host
AuthorizedKeysFile %s/user.pub
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
MaxStartups 100
SetEnv SHLVL=1
`, s.port, s.dir, s.dir))
	background(t, paths[0], "-D", "-e", "-f", config)
	accepts(t, "127.0.0.1:"+s.port)
	return s
}

// command is ssh to the server through a ProxyCommand.
func (s *sshServer) command(ctx context.Context, proxyCommand string, arg ...string) *exec.Cmd {
	base := []string{"-F", "none", "-i", filepath.Join(s.dir, "user"), "-p", s.port,
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "BatchMode=yes", "-o", "ProxyCommand=" + proxyCommand, "127.0.0.1"}
	return exec.CommandContext(ctx, "ssh", append(base, arg...)...)
}

// runProgram runs a program to its end with a bound, and returns what it printed.
func runProgram(t *testing.T, stdin io.Reader, name string, arg ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, arg...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	cmd.Env = cleanEnviron()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// cleanEnviron is the environment without what would choose a proxy.
func cleanEnviron() []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") && !strings.HasPrefix(name, "CULVERT_") {
			env = append(env, e)
		}
	}
	return env
}
