//go:build unix

package realtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// This file is about how ssh and dial live and die together.

// The second ssh goes through the first one's tunnel, and ssh -O exit leaves
// nothing of it.
func TestRealControlMaster(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	for _, fdpass := range []bool{false, true} {
		t.Run(fmt.Sprint("fdpass=", fdpass), func(t *testing.T) {
			proxy, log := serveWith(t, "--allow", "*:*")
			dir, err := os.MkdirTemp("", "cm") // a short path: a unix socket's
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			command := dialThrough(t, proxy)
			if fdpass {
				command = dialThrough(t, proxy, "-F")
			}
			control := fdpassWords(fdpass, "-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", "ControlPath="+filepath.Join(dir, "s"))
			t.Cleanup(func() { server.command(t.Context(), command, append(control, "-O", "exit")...).Run() })
			for _, word := range []string{"first", "second"} {
				x := server.start(t, command, append(control, "echo", word)...)
				if err := x.Wait(); err != nil || x.answered() != word+"\n" {
					t.Fatalf("%q, %v", x.answered(), err)
				}
			}
			if strings.Contains(log.String(), `"msg":"tunnel close"`) {
				t.Error("the master's tunnel has ended")
			}
			want := 1
			if fdpass {
				want = 0
			}
			if pids := dialsTo(t, proxy); len(pids) != want {
				t.Errorf("processes of dial: %v, want %d", pids, want)
			}
			x := server.start(t, command, append(control, "-O", "exit")...)
			if err := x.Wait(); err != nil {
				t.Errorf("ssh -O exit: %v", err)
			}
			eventually(t, "the tunnel to end", func() bool { return strings.Contains(log.String(), `"msg":"tunnel close"`) })
			if n := strings.Count(log.String(), `"msg":"tunnel open"`); n != 1 {
				t.Errorf("two sessions took %d tunnels, want 1", n)
			}
			eventually(t, "dial to go", func() bool { return len(dialsTo(t, proxy)) == 0 })
		})
	}
}

// A proxy that never answers: ssh's deadline ends dial, and dial's own ends ssh
// with a sentence. With ProxyUseFdpass only the latter: ssh's ConnectTimeout
// begins when it has the socket.
func TestRealMannersBeforeASilentProxy(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	for _, tt := range []struct {
		name, flags string
		fdpass      bool
		arg         []string
		says        string
	}{
		{"ssh's deadline", "--timeout 0", false, []string{"-o", "ConnectTimeout=2"}, "Connection timed out during banner exchange"},
		{"dial's", "--timeout 1s", false, nil, "culvert dial: proxy PROXY did not answer in time\nhint: "},
		{"dial's, -F", "--timeout 1s -F", true, []string{"-o", "ConnectTimeout=9"}, "culvert dial: proxy PROXY did not answer in time\nhint: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			proxy, came := silentProxy(t)
			x := server.start(t, dialThrough(t, proxy, tt.flags), fdpassWords(tt.fdpass, append(tt.arg, "true")...)...)
			<-came
			x.Wait()
			if want := strings.Replace(tt.says, "PROXY", proxy, 1); x.ProcessState.ExitCode() != 255 || !strings.Contains(x.said(), want) {
				t.Errorf("exit %d; stderr %q lacks %q", x.ProcessState.ExitCode(), x.said(), want)
			}
			eventually(t, "dial to go", func() bool { return len(dialsTo(t, proxy)) == 0 })
		})
	}
}

// However ssh ends, dial ends too, whatever it is doing.
func TestRealMannersDialGoesWithSSH(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	plain, plainLog := serveWith(t, "--allow", "*:*")
	_, log := serveWith(t, "--listen", "https://127.0.0.1:0", "--tls-self-signed", "--allow", "*:*")
	secure := "https://" + secureAddress(t, log)
	squid := startSquid(t, "") // whose dials are no other test's
	for _, flags := range []string{"", "-F"} {
		proxies := []string{"", plain, secure + " -k", squid}
		if flags == "" {
			proxies[3] += " --on-eof wait"
		}
		for _, sent := range []syscall.Signal{syscall.SIGKILL, syscall.SIGHUP} {
			for _, proxy := range proxies {
				t.Run(fmt.Sprint(flags, " ", sent, " ", proxy), func(t *testing.T) {
					before, came := proxy == "", make(chan struct{})
					if before {
						proxy, came = silentProxy(t)
						proxy += " --timeout 0"
					}
					command := culvert(t) + " dial " + flags + " --proxy " + proxy + " -- %h %p"
					x := server.start(t, command, fdpassWords(flags != "", "echo ready; read line")...)
					if before {
						<-came
					} else {
						eventually(t, "the session", func() bool { return x.answered() == "ready\n" })
					}
					x.Process.Signal(sent)
					x.Wait()
					address, _, _ := strings.Cut(proxy, " ")
					eventually(t, "dial to go", func() bool { return len(dialsTo(t, address)) == 0 })
				})
			}
		}
	}
	eventually(t, "the tunnels to close", func() bool {
		return strings.Count(plainLog.String(), `"msg":"tunnel close"`) == 4 && strings.Count(log.String(), `"msg":"tunnel close"`) == 4
	})
}

// What dial -v says comes through ssh -v line by line, in order and without
// colour, in both modes.
func TestRealMannersVerbose(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	proxy, _ := serveWith(t, "--allow", "*:*")
	target := regexp.QuoteMeta("127.0.0.1:" + server.port)
	at := regexp.QuoteMeta(proxy)
	for _, flags := range []string{"-v", "-v -F"} {
		fdpass := strings.Contains(flags, "-F")
		want := []string{
			"to " + target + " through http://" + at + ": from --proxy", "connecting to " + at, "connected to " + at,
			"> CONNECT " + target + " HTTP/1.1", "> Host: " + target, `> User-Agent: culvert/\S+`, "> ",
			"< HTTP/1.1 200 .*", `< (\n\d+ bytes of the target's came along with the answer)?`, `tunnel open after \d+ ms`, // a quick sshd's
		}
		if fdpass {
			want = append(want, "handing the socket over")
		}
		x := server.start(t, dialThrough(t, proxy, flags), fdpassWords(fdpass, "-v", "-o", "LogLevel=DEBUG", "true")...)
		if err := x.Wait(); err != nil {
			t.Fatal(err)
		}
		// ssh's SIGHUP at the end may be quicker than dial's last line.
		eventually(t, "dial to go", func() bool { return len(dialsTo(t, proxy)) == 0 })
		var got []string
		for line := range strings.Lines(x.said()) {
			if said, ok := strings.CutPrefix(line, "culvert dial: "); ok {
				got = append(got, strings.TrimSuffix(said, "\n"))
			}
		}
		text := strings.Join(got, "\n")
		if !regexp.MustCompile("^" + strings.Join(want, "\n") + `(\ntunnel ended: .*(\nnothing came after .*)?)?$`).MatchString(text) {
			t.Errorf("%s: dial said\n%s\nwant\n%s", flags, text, strings.Join(want, "\n"))
		}
		if !strings.Contains(x.said(), "debug1: ") || bytes.ContainsRune([]byte(x.said()), '\x1b') {
			t.Errorf("%s: ssh said %q", flags, x.said())
		}
	}
}
