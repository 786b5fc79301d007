//go:build unix

package realtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// This file has ssh and its server.

// sshServer is a real sshd with keys made for the tests.
type sshServer struct {
	port, dir string
}

// sshd is the one that tests share.
var sshd = shared(startSSHD, "sshd", "ssh", "ssh-keygen")

func startSSHD(t testing.TB) *sshServer {
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
MaxStartups 500
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
		"-o", "BatchMode=yes", "-o", "Ciphers=aes128-gcm@openssh.com", "-o", "ProxyCommand=" + proxyCommand, "127.0.0.1"} // the least work
	return exec.CommandContext(ctx, "ssh", append(base, arg...)...)
}

// behind is the server as it is reached at another address of this machine.
func (s *sshServer) behind(address string) *sshServer {
	_, port, _ := strings.Cut(address, ":")
	return &sshServer{port: port, dir: s.dir}
}

// dialThrough is a ProxyCommand.
func dialThrough(t *testing.T, proxy string, flags ...string) string {
	return strings.Join(append([]string{culvert(t), "dial", "--proxy", "http://" + proxy}, flags...), " ") + " -- %h %p"
}

// useFdpass makes ssh take the socket from its ProxyCommand.
func useFdpass(arg ...string) []string { return append([]string{"-o", "ProxyUseFdpass=yes"}, arg...) }

// fdpassWords are ssh's options for a ProxyCommand with or without -F.
func fdpassWords(fdpass bool, arg ...string) []string {
	if fdpass {
		return useFdpass(arg...)
	}
	return arg
}

// sshSession is an ssh at work, what it says in files: a descriptor of its children
// then delays nothing.
type sshSession struct {
	*exec.Cmd
	stdout, stderr string
}

func (s *sshServer) start(t *testing.T, proxyCommand string, arg ...string) *sshSession {
	t.Helper()
	dir := t.TempDir()
	x := &sshSession{s.command(t.Context(), proxyCommand, arg...), filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")}
	if _, err := x.StdinPipe(); err != nil { // open until the end
		t.Fatal(err)
	}
	x.Env = cleanEnviron()
	for path, to := range map[string]func(*os.File){
		x.stdout: func(f *os.File) { x.Stdout = f },
		x.stderr: func(f *os.File) { x.Stderr = f },
	} {
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		to(file)
	}
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(2*bound, func() { x.Process.Kill() })
	t.Cleanup(func() {
		timer.Stop()
		if x.ProcessState == nil {
			x.Process.Kill()
			x.Wait()
		}
		if t.Failed() {
			t.Logf("ssh said: %s", x.said())
		}
	})
	return x
}

func (x *sshSession) answered() string { return contents(x.stdout) }

func (x *sshSession) said() string { return contents(x.stderr) }

// configFor is a stanza with what the test's server wants.
func (s *sshServer) configFor(t *testing.T, stanza string) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "config"), stanza+"Host *\n    Port "+s.port+"\n    IdentityFile "+filepath.Join(s.dir, "user")+
		"\n    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n    BatchMode yes\n    LogLevel ERROR\n")
}
