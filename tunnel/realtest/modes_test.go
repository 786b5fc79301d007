//go:build unix

package realtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// listening starts culvert dial --listen and returns where, and its log.
func listening(t *testing.T, arg ...string) (address string, log *lockedBuffer) {
	t.Helper()
	log = background(t, culvert(t), append([]string{"dial"}, arg...)...)
	return strings.TrimPrefix(announced(t, log, "listening on "), "socks5://"), log
}

// One local port, many ssh sessions: the server speaks first, and much goes
// both ways.
func TestRealSSHThroughListen(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	payload := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(payload)
	want := sha256.Sum256(payload)
	eachProxy(t, func(t *testing.T, proxy string) {
		address, log := listening(t, "--proxy", "http://"+proxy, "--listen", "0", "127.0.0.1", server.port)
		var sessions sync.WaitGroup
		for range 5 {
			sessions.Go(func() {
				cmd := server.behind(address).command(t.Context(), "none", "cat")
				cmd.Stdin = bytes.NewReader(payload)
				out, err := cmd.Output()
				if got := sha256.Sum256(out); err != nil || got != want {
					t.Errorf("%d bytes came back, %v", len(out), err)
				}
			})
		}
		sessions.Wait()
		eventually(t, "five tunnels to end", func() bool { return strings.Count(log.String(), `msg="tunnel close"`) == 5 })
	})
}

// curl goes through the SOCKS listener, by every version it knows.
func TestRealProgramsThroughSOCKSListener(t *testing.T) {
	t.Parallel()
	curl := needs(t, "curl")[0]
	clear := httptest.NewServer(http.HandlerFunc(origin))
	defer clear.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(origin))
	defer secure.Close()
	eachProxy(t, func(t *testing.T, proxy string) {
		address, log := listening(t, "--proxy", "http://"+proxy, "--listen", "socks5://127.0.0.1:0")
		for _, version := range []string{"--socks5", "--socks5-hostname", "--socks4", "--socks4a"} {
			for _, url := range []string{clear.URL, secure.URL, strings.Replace(secure.URL, "127.0.0.1", "localhost", 1)} {
				out, stderr, code := runProgram(t, nil, curl, "-sSk", "--noproxy", "", version, address, url+"/hello")
				if code != 0 || out == "" {
					t.Errorf("%s %s: %q, %d: %s", version, url, out, code, stderr)
				}
			}
		}
		_, _, code := runProgram(t, nil, curl, "-sS", "--noproxy", "", "--socks5", address, "http://127.0.0.1:"+freePort(t)+"/")
		if code == 0 {
			t.Error("a closed port was reached")
		}
		eventually(t, "the failure in the log", func() bool { return strings.Contains(log.String(), "level=WARN msg=request") })
	})
}

// git clones over ssh, by --print-ssh-config's own lines.
func TestRealGitBySSHConfig(t *testing.T) {
	t.Parallel()
	git := needs(t, "git")[0]
	server := sshd(t)
	proxy := startOpenServe(t)
	folder := t.TempDir()
	repository := filepath.Join(folder, "from")
	run := func(arg ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), git, arg...)
		cmd.Env = append(cleanEnviron(), "HOME="+folder, "GIT_CONFIG_NOSYSTEM=1", "GIT_SSH_COMMAND=ssh -F "+filepath.Join(folder, "config"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", arg, err, out)
		}
	}
	run("init", "-q", repository)
	run("-C", repository, "-c", "user.name=a", "-c", "user.email=a@a.test", "commit", "-q", "--allow-empty", "-m", "first")
	for _, fdpass := range []bool{true, false} {
		stanza, stderr, code := runProgram(t, nil, culvert(t), "dial", "--proxy", "http://"+proxy, "--print-ssh-config", "127.0.0.1")
		if code != 0 || !strings.Contains(stanza, "ProxyUseFdpass yes") {
			t.Fatalf("%d: %s%s", code, stanza, stderr)
		}
		if !fdpass {
			stanza = strings.ReplaceAll(strings.ReplaceAll(stanza, " --fdpass", ""), "    ProxyUseFdpass yes\n", "")
		}
		write(t, filepath.Join(folder, "config"), stanza+"Host *\n    IdentityFile "+filepath.Join(server.dir, "user")+
			"\n    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n    BatchMode yes\n    LogLevel ERROR\n")
		to := filepath.Join(folder, fmt.Sprint("to-", fdpass))
		run("clone", "-q", "ssh://127.0.0.1:"+server.port+repository, to)
		if _, err := os.Stat(filepath.Join(to, ".git", "HEAD")); err != nil {
			t.Error(err)
		}
	}
}

// SIGTERM lets a running session end, and takes no new one.
func TestRealListenDrains(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	cmd := exec.CommandContext(t.Context(), culvert(t), "dial", "--proxy", "direct", "-L", "0", "127.0.0.1:"+server.port)
	var log lockedBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	address := announced(t, &log, "listening on ")
	session := server.behind(address).command(t.Context(), "none", "echo ready; read line; echo $line")
	stdin, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out lockedBuffer
	session.Stdout = &out
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session", func() bool { return out.String() == "ready\n" })
	cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "dial to drain", func() bool { return strings.Contains(log.String(), "draining") })
	fmt.Fprintln(stdin, "still here")
	if err := session.Wait(); err != nil || out.String() != "ready\nstill here\n" {
		t.Errorf("the session: %q, %v", out.String(), err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("dial: %v", err)
	}
}
