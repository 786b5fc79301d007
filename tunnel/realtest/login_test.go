//go:build unix

package realtest

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// ssh gets through squid whatever login that wants, over -F too, and -v tells
// the schemes and no secret.
func TestRealLoginAtSquid(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	for _, tt := range []struct {
		offers, auth, user string
		want               []string // schemes shown, in order
		code               int
	}{
		{"basic", "", "ada:lovelace", []string{"Basic"}, 0},
		{"digest", "", "ada:lovelace", []string{"Digest"}, 0},
		{"digest", "", "ada:wrong", []string{"Digest"}, 5},
		{"digest", "basic", "ada:lovelace", []string{"Basic"}, 5},
		{"ntlm", "", "CORP%5Cada:lovelace", []string{"NTLM", "NTLM"}, 0},
		{"samba", "", "CORP%5Cada:lovelace", []string{"NTLM", "NTLM"}, 0},
		{"samba", "", "CORP%5Cada:wrong", []string{"NTLM", "NTLM"}, 5},
		{"samba", "ntlm-v1", "CORP%5Cada:lovelace", []string{"NTLM", "NTLM"}, 0},
		{"samba", "ntlm-v1", "CORP%5Cada:wrong", []string{"NTLM", "NTLM"}, 5},
		{"basic ntlm digest", "", "ada:lovelace", []string{"Digest"}, 0},
		{"basic ntlm digest", "", "ada:wrong", []string{"Digest", "NTLM", "NTLM"}, 0},
		{"basic digest", "", "ada:wrong", []string{"Digest", "Basic"}, 0},
		{"basic ntlm digest", "ntlm", "ada:lovelace", []string{"NTLM", "NTLM"}, 0},
	} {
		t.Run(strings.Join([]string{tt.offers, tt.auth, tt.user}, " "), func(t *testing.T) {
			address := squidOffering(t, tt.offers)
			arg := []string{"dial", "-v", "--proxy", "http://" + tt.user + "@" + address}
			if tt.auth != "" {
				arg = append(arg, "--auth", tt.auth)
			}
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), culvert(t), append(arg, "--on-eof", "wait", "127.0.0.1:"+server.port)...)
			cmd.Stdin, cmd.Stderr = strings.NewReader("no ssh\r\n"), &stderr
			out, _ := cmd.Output()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || code == 0 && !strings.HasPrefix(string(out), "SSH-2.0-OpenSSH") {
				t.Errorf("exit code %d after %q:\n%s", code, out, &stderr)
			}
			var shown []string
			for line := range strings.Lines(stderr.String()) {
				if _, value, ok := strings.Cut(line, "> Proxy-Authorization: "); ok {
					scheme, secret, _ := strings.Cut(strings.TrimSpace(value), " ")
					if shown = append(shown, scheme); secret != "***" {
						t.Errorf("-v shows %q", line)
					}
				}
			}
			if strings.Join(shown, " ") != strings.Join(tt.want, " ") {
				t.Errorf("shown: %q, want %q", shown, tt.want)
			}
			if tt.code != 0 {
				return
			}
			proxyCommand := strings.ReplaceAll(strings.Join(append([]string{culvert(t)}, arg...), " "), "%", "%%") + " -F -- %h %p"
			echo, err := server.command(t.Context(), proxyCommand, useFdpass("echo", "in")...).Output()
			if err != nil || string(echo) != "in\n" {
				t.Errorf("ssh: %q, %v", echo, err)
			}
		})
	}
}

// ssh goes through SOCKS proxies: microsocks with a password, and ssh's own,
// which knows version 4a too; alone and behind serve, and over -F.
func TestRealSOCKS(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	locked, open := freePort(t), freePort(t)
	background(t, needs(t, "microsocks")[0], "-i", "127.0.0.1", "-p", locked, "-u", "ada", "-P", "lovelace")
	forward := server.command(t.Context(), "none", "-N", "-D", "127.0.0.1:"+open)
	background(t, forward.Path, forward.Args[1:]...)
	accepts(t, "127.0.0.1:"+locked)
	accepts(t, "127.0.0.1:"+open)
	serve := startOpenServe(t)
	for _, route := range []string{
		"--proxy socks5h://ada:lovelace@127.0.0.1:" + locked,
		"--proxy socks5://ada:lovelace@127.0.0.1:" + locked,
		"--proxy socks5h://127.0.0.1:" + open,
		"--proxy socks4a://127.0.0.1:" + open,
		"--proxy http://" + serve + " --proxy socks4a://127.0.0.1:" + open,
		"--proxy socks5h://127.0.0.1:" + open + " --proxy socks5h://ada:lovelace@127.0.0.1:" + locked + " --proxy http://" + serve,
	} {
		t.Run(route, func(t *testing.T) {
			for _, fdpass := range []bool{false, true} {
				proxyCommand, arg := culvert(t)+" dial "+route+" -- %h %p", []string{"echo", "in"}
				if fdpass {
					proxyCommand, arg = strings.Replace(proxyCommand, " -- ", " -F -- ", 1), useFdpass(arg...)
				}
				if out, err := server.command(t.Context(), proxyCommand, arg...).CombinedOutput(); err != nil || string(out) != "in\n" {
					t.Errorf("fdpass %t: %q, %v", fdpass, out, err)
				}
			}
		})
	}
	stdout, _, code := runProgram(t, strings.NewReader(""), culvert(t), "probe", "-x", "socks5h://ada:lovelace@127.0.0.1:"+locked, "-x", "http://"+serve, "127.0.0.1:"+server.port)
	if code != 0 || !strings.Contains(stdout, "\n> \\x01\\x03ada***\n< \\x01\\x00\n* accepted\n") || !strings.Contains(stdout, "SSH-2.0-") {
		t.Errorf("probe: exit code %d: %s", code, stdout)
	}
	for route, want := range map[string]int{"socks5h://ada:wrong@127.0.0.1:" + locked: 5, "socks5h://127.0.0.1:" + locked: 5, "http://127.0.0.1:" + locked: 8} {
		_, stderr, code := runProgram(t, strings.NewReader(""), culvert(t), "dial", "--proxy", route, "127.0.0.1:"+server.port)
		if code != want || !strings.Contains(stderr, "hint: ") || strings.Contains(stderr, "wrong") {
			t.Errorf("%s: exit code %d, want %d: %s", route, code, want, stderr)
		}
	}
	_, stderr, code := runProgram(t, strings.NewReader(""), culvert(t), "dial", "--proxy", "socks5h://ada:lovelace@127.0.0.1:"+locked, "127.0.0.1:"+freePort(t))
	if code != 7 || !strings.Contains(stderr, "connection refused") {
		t.Errorf("a closed port: exit code %d: %s", code, stderr)
	}
}
