package route

import (
	"path/filepath"
	"slices"
	"strings"

	"culvert/tunnel/cli/args"
)

// fileFlags are those whose value is a file: ssh may run culvert elsewhere.
var fileFlags = args.Names{"proxy-credentials", "netrc-file", "cacert", "cert", "key", "tls-cacert", "pac"}

// SSHConfig is the stanza for ssh_config(5) that sends hosts through what the
// flags say. program is culvert's absolute path. fdpass is for a tunnel that is
// a socket, whose bytes culvert then need not touch.
func (w *Way) SSHConfig(program string, hosts []string, fdpass bool) string {
	words := []string{program, "dial"}
	for _, s := range w.flags.Settings() {
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

// shellWord quotes what a shell would take apart: ssh runs the command by the
// user's, whichever that is. fish alone takes \ in single quotes for more than
// itself, so none stands there.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,[]", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) || r == '[' || r == ']' }) {
		return s
	}
	return "'" + strings.NewReplacer("'", `'\''`, `\`, `'\\'`).Replace(s) + "'"
}
