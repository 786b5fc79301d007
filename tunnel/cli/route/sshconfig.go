package route

import (
	"path/filepath"
	"slices"
	"strings"

	"culvert/tunnel/cli/args"
)

// fileFlags are the flags whose value is a file: ssh may run culvert in another
// folder.
var fileFlags = args.Names{"proxy-credentials", "netrc-file", "cacert", "cert", "key", "tls-cacert", "pac"}

// SSHConfig returns the lines of ssh_config(5) that send hosts by the route that
// the flags name. program is culvert's absolute path. fdpass is for a tunnel that
// is a plain socket, which culvert can hand over to ssh.
func (p *Plan) SSHConfig(program string, hosts []string, fdpass bool) string {
	words := []string{program, "dial"}
	for _, s := range p.flags.Settings() {
		if !strings.HasPrefix(s.Source, "-") || slices.Contains(args.Names{"print-ssh-config", "color", "fdpass"}, s.Name) {
			continue
		}
		value := s.Value
		if slices.Contains(fileFlags, s.Name) && !strings.Contains(value, "://") {
			if path, err := filepath.Abs(value); err == nil {
				value = path
			}
		}
		if value == "true" {
			words = append(words, "--"+s.Name)
			continue
		}
		words = append(words, "--"+s.Name+"="+value)
	}
	if fdpass {
		words = append(words, "--fdpass")
	}
	for i, word := range words {
		words[i] = shellWord(strings.ReplaceAll(word, "%", "%%")) // ssh takes %% for %
	}
	stanza := "Host " + strings.Join(hosts, " ") + "\n    ProxyCommand " + strings.Join(append(words, "--", "%h", "%p"), " ") + "\n"
	if fdpass {
		stanza += "    ProxyUseFdpass yes\n"
	}
	return stanza
}

// shellWord quotes a word so that every shell reads it as one: ssh runs the
// command by the user's shell. A backslash stands in quotes of its own, because
// within single quotes fish, alone among shells, treats it as an escape.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,[]", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) || r == '[' || r == ']' }) {
		return s
	}
	return "'" + strings.NewReplacer("'", `'\''`, `\`, `'\\'`).Replace(s) + "'"
}
