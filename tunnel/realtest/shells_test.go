//go:build unix

package realtest

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// This file has the users' shells: ssh runs ProxyCommand by them, and they
// complete.

var shells = []string{"bash", "dash", "fish", "zsh"}

// shellSSH runs ssh by a shell, with a folder of programs in front of PATH.
func shellSSH(t *testing.T, shell, folder, config string) (out string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ssh", "-F", config, "127.0.0.1", "echo through")
	cmd.Env = append(cleanEnviron(), "SHELL="+shell, "HOME="+t.TempDir(), "PATH="+folder+":"+os.Getenv("PATH"))
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// linked is the program under another path.
func linked(t *testing.T, folder string) string {
	t.Helper()
	folder = filepath.Join(t.TempDir(), folder)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "culvert")
	if err := os.Link(culvert(t), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// The lines of --print-ssh-config do in every shell, whatever stands in them.
func TestRealShellsRunTheStanza(t *testing.T) {
	t.Parallel()
	paths := needs(t, shells...)
	server := sshd(t)
	const user, password = "ada", `l%o$HOME've"l\\a\'ce;~&*(!)#{x}[y]` + "`z`"
	proxy := startServeFor(t, user+":"+password)
	// As little as can be is escaped: the rest is the shells' to keep.
	raw := strings.NewReplacer("%", "%25", "#", "%23", "[", "%5B", "]", "%5D", "\"", "%22", "\\", "%5C", "{", "%7B", "}", "%7D", "`", "%60").Replace(password)
	for _, tt := range []struct {
		name, folder, login string
		more                []string // FILE is one with the credentials, in the folder
	}{
		{"plain", "bin", url.UserPassword(user, password).String() + "@", nil},
		{"a space in the path", "my own bin", user + ":" + raw + "@", nil},
		{"files and fields", `it's $a\b\\c"%d`, "", []string{"--proxy-credentials", "FILE", "--header", `X-Why: ` + password + `\`}},
	} {
		program := linked(t, tt.folder)
		file := write(t, filepath.Join(filepath.Dir(program), "login"), user+":"+password+"\n")
		arg := []string{"dial", "--proxy", "http://" + tt.login + proxy, "--show-secrets", "--print-ssh-config"}
		for _, word := range tt.more {
			arg = append(arg, strings.Replace(word, "FILE", file, 1))
		}
		arg = append(arg, "127.0.0.1")
		stanza, errs, code := runProgram(t, nil, program, arg...)
		if code != 0 {
			t.Fatalf("%d: %s", code, errs)
		}
		bare := strings.ReplaceAll(strings.ReplaceAll(stanza, " --fdpass", ""), "    ProxyUseFdpass yes\n", "")
		if bare == stanza {
			t.Fatalf("no --fdpass in %s", stanza)
		}
		for i, shell := range paths {
			for kind, config := range map[string]string{"": bare, " fdpass": stanza} {
				t.Run(tt.name+" "+shells[i]+kind, func(t *testing.T) {
					out, err := shellSSH(t, shell, "/nowhere", server.configFor(t, config))
					if err != nil || !strings.HasSuffix(out, "through\n") {
						t.Errorf("%v: %s\n%s", err, out, config)
					}
				})
			}
		}
	}
}

// So do the README's own, and dial gets the words as they are meant.
func TestRealShellsRunTheREADMEsLine(t *testing.T) {
	t.Parallel()
	paths := needs(t, shells...)
	server := sshd(t)
	proxy, log := serveWith(t, "--allow", "*:*")
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`ProxyCommand (culvert dial --proxy http://\S+ -- %h %p)`).FindAllStringSubmatch(string(text), -1)
	if len(lines) != 2 {
		t.Fatalf("the README has %d such lines, want 2", len(lines))
	}
	folder := filepath.Dir(culvert(t))
	for i, shell := range paths {
		for _, line := range lines {
			command := regexp.MustCompile(`http://\S+`).ReplaceAllString(line[1], "http://"+proxy)
			out, err := shellSSH(t, shell, folder, server.configFor(t, "Host *\n    ProxyCommand "+command+"\n"))
			if err != nil || out != "through\n" {
				t.Errorf("%s: %v: %s", shells[i], err, out)
			}
		}
	}
	eventually(t, "each line has opened a tunnel", func() bool {
		return strings.Count(log.String(), `"msg":"tunnel open"`) == len(paths)*len(lines)
	})
}

// Each gets the completion script's path, a line as it is typed, and what to
// wait for, and prints what is offered.
const (
	bashCompletes = `source "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
set -- $(complete -p culvert); while [ "$1" != -F ]; do shift; done; $2; printf '%s\n' "${COMPREPLY[@]}"`
	fishCompletes = `source $argv[1]; complete -C $argv[2]`
	// Completion is the line editor's: it wants a terminal.
	zshCompletes = `zmodload zsh/zpty; zpty z "TERM=dumb PS1='ready> ' zsh -f -i"; zpty -r z said '*ready> '
zpty -w z "fpath=(${1:h} \$fpath); autoload -Uz compinit; compinit -D -u; PS1='set> '"; zpty -r z said '*set> '
zpty -w -n z "$2"$'\t'; zpty -r z said "*$3*"; print -r -- "$said"; zpty -d z`
)

// The completion scripts are what the shells take, and complete.
func TestRealShellsComplete(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "fish", "zsh")
	for _, tt := range []struct {
		shell string
		run   []string
		typed map[string]string // a line, and a word among those offered
	}{
		{"bash", []string{"--norc", "-c", bashCompletes, "bash"}, map[string]string{
			"culvert pro": "probe", "culvert dial --pro": "--proxy-protocol", "culvert dial --on-eof ha": "half-close", "culvert --color al": "always",
		}},
		{"fish", []string{"--no-config", "-c", fishCompletes}, map[string]string{
			"culvert pro": "probe", "culvert dial --pro": "--proxy-protocol", "culvert dial --on-eof ha": "half-close", "culvert --color al": "always",
		}},
		{"zsh", []string{"-f", "-c", zshCompletes, "zsh"}, map[string]string{
			"culvert prob": "culvert probe", "culvert dial --proxy-pr": "--proxy-protocol", "culvert dial --on-eof ha": "half-close", "culvert --color al": "always",
		}},
	} {
		t.Run(tt.shell, func(t *testing.T) {
			script, errs, code := runProgram(t, nil, culvert(t), "--completion", tt.shell)
			if code != 0 {
				t.Fatal(errs)
			}
			file := write(t, filepath.Join(t.TempDir(), "_culvert"), script)
			if out, err := exec.Command(tt.shell, "-n", file).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s -n: %v: %s", tt.shell, err, out)
			}
			for line, want := range tt.typed {
				out, errs, code := runProgram(t, nil, tt.shell, append(tt.run, file, line, want)...)
				if code != 0 || errs != "" || !strings.Contains(out, want) || strings.Contains(out, "--listen") {
					t.Errorf("%q: want %q among %q; exit %d, %s", line, want, out, code, errs)
				}
			}
		})
	}
}
