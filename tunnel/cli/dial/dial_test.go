package dial

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"culvert/tunnel/cli/args"
)

// line parses the command line of a program that has dial alone.
func line(t *testing.T, words ...string) *args.Line {
	t.Helper()
	flags := append([]args.Flag{{Name: "proxy", Aliases: []string{"x"}, Kind: args.List, Usage: "`URL`"}, {Name: "cacert", Usage: "`FILE`"}, {Name: "show-secrets", Kind: args.Switch}}, Flags()...)
	l := args.NewLine(args.Program{Name: "culvert", Verbs: []args.Verb{{Name: "dial", Flags: flags}}})
	if err := l.Parse(append([]string{"dial"}, words...)); err != nil {
		t.Fatal(err)
	}
	return l
}

// Of two modes neither is guessed.
func TestOneMode(t *testing.T) {
	for _, tt := range []struct{ words, want string }{
		{"", ""},
		{"--fdpass", ""},
		{"--stats", ""},
		{"--exec --stats", ""},
		{"--fdpass --listen 1", "--listen and --fdpass exclude each other"},
		{"--why a:1 --print-ssh-config", "--why and --print-ssh-config exclude each other"},
		{"--listen 1 --stats", "--stats is for a tunnel that this process carries, and --listen makes none"},
		{"--fdpass --stats-fd 3", "--stats is for a tunnel that this process carries, and --fdpass makes none"},
	} {
		err := OneMode(&line(t, strings.Fields(tt.words)...).Values)
		var mistake *args.Error
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%q: %v", tt.words, err)
		case tt.want != "" && (!errors.As(err, &mistake) || err.Error() != tt.want):
			t.Errorf("%q: %v, want %q", tt.words, err, tt.want)
		}
	}
}

// The command begins behind the target, which is one word or two.
func TestTargetAndCommand(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		words   []string
		target  string
		command []string
		mistake string
	}{
		{[]string{"a.test:22", program}, "a.test:22", []string{program}, ""},
		{[]string{"a.test", "22", program, "-x", "b:1"}, "a.test:22", []string{program, "-x", "b:1"}, ""},
		{[]string{"a.test:22"}, "", nil, "--exec needs a target and a command"},
		{[]string{"a.test", "22"}, "", nil, "--exec needs a target and a command"},
		{nil, "", nil, "--exec needs a target and a command"},
		{[]string{"a.test:22", "./no-such-command"}, "", nil, `the command "./no-such-command" cannot be run`},
	} {
		target, command, err := TargetAndCommand(tt.words, true)
		switch {
		case tt.mistake != "":
			if err == nil || !strings.HasPrefix(err.Error(), tt.mistake) {
				t.Errorf("%q: %v, want %q", tt.words, err, tt.mistake)
			}
		case err != nil || target.String() != tt.target || !slices.Equal(command, tt.command):
			t.Errorf("%q: %v, %q, %v", tt.words, target, command, err)
		}
	}
	if target, command, err := TargetAndCommand([]string{"a.test", "22"}, false); err != nil || target.String() != "a.test:22" || command != nil {
		t.Errorf("without --exec: %v, %q, %v", target, command, err)
	}
}

// ssh runs the printed command with the user's shell, in a folder that culvert does not
// know, and replaces what begins with a per cent sign.
func TestStanza(t *testing.T) {
	l := line(t, "--proxy", "http://it's:50%@p:1", "--show-secrets", "--cacert", "ca.pem", "--print-ssh-config", "--exec=false", "git.test")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want := "Host git.test *.test\n    ProxyCommand '/opt/my culvert' dial '--proxy=http://it'\\''s:50%%@p:1' " +
		shellWord("--cacert="+strings.ReplaceAll(filepath.Join(here, "ca.pem"), "%", "%%")) + " --exec=false --fdpass -- %h %p\n    ProxyUseFdpass yes\n"
	if got, left := stanza("/opt/my culvert", &l.Values, []string{"git.test", "*.test"}, true); got != want || left != "" {
		t.Errorf("stanza\n%swant\n%s", got, want)
	}
}

// A shell reads a quoted word as it was.
func TestShellWord(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	words := []string{"", "plain", "a b", "it's", `back\slash`, "$HOME", "`id`", "a\nb", "*", "~", "ü", `"`, `\'`, "#x", "a;b", "!"}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellWord(w)
	}
	out, err := exec.Command("sh", "-c", `printf '%s\0' `+strings.Join(quoted, " ")).Output()
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); err != nil || !slices.Equal(got, words) {
		t.Errorf("sh reads %q, %v, want %q", got, err, words)
	}
}
