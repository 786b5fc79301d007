package dial

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/client"
	"culvert/tunnel/stdio"
)

// fileFlags are the flags whose value is a file. Its path is made absolute, since ssh may
// run culvert in another folder.
var fileFlags = args.Names{"proxy-credentials", "netrc-file", "cacert", "cert", "key", "tls-cacert", "pac"}

// SSHConfig is dial --print-ssh-config: it returns the lines of ssh_config(5) that
// send the hosts in the arguments by the route that the flags name. say writes a
// line to stderr.
func SSHConfig(line *args.Line, chooser *route.Chooser, say func(format string, a ...any)) (string, error) {
	if len(line.Args) == 0 {
		return "", args.Usagef("as in culvert dial --proxy http://proxy:3128 --print-ssh-config 'git.example.com' '*.example.org'", "--print-ssh-config needs the hosts, as ssh has them")
	}
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	plan, err := chooser.Plan(tunnel.Authority{})
	if err != nil {
		return "", err
	}
	for _, note := range plan.Notes {
		say("%s", note)
	}
	if plan.Client.Route.Direct() || !strings.HasPrefix(plan.Client.Route.Source, "-") {
		say("without --proxy the environment that ssh runs in names the proxy")
	}
	lines, left := stanza(program, &line.Values, line.Args, stdio.CanHandOver(plan.Client))
	if left != "" {
		say("the secret in %s is left out: keep a password in a file, with --proxy-credentials FILE or ?credentials=FILE behind the URL, or print it with --show-secrets", left)
	}
	return lines, nil
}

// stanza returns the lines for the hosts, and the name of the last flag of which a
// secret is left out, "" = none is. program is culvert's absolute path. fdpass
// is for a tunnel that is a plain socket, which culvert can hand over to ssh.
func stanza(program string, flags *args.Values, hosts []string, fdpass bool) (lines, left string) {
	words := []string{program, "dial"}
	for _, s := range flags.Settings() {
		if !strings.HasPrefix(s.Source, "-") || slices.Contains(args.Names{"print-ssh-config", "show-secrets", "color", "fdpass"}, s.Name) {
			continue
		}
		value := s.Value
		if shown := withoutSecret(s.Name, value); shown != value && !flags.Bool("show-secrets") {
			if left = s.Source; shown == "" {
				continue
			}
			value = shown
		}
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
	lines = "Host " + strings.Join(hosts, " ") + "\n    ProxyCommand " + strings.Join(append(words, "--", "%h", "%p"), " ") + "\n"
	if fdpass {
		lines += "    ProxyUseFdpass yes\n"
	}
	return lines, left
}

// withoutSecret returns the value of a flag without the passwords in it, "" if nothing
// else is in it. A user name stays, for CULVERT_PROXY_PASSWORD, unless the userinfo is
// malformed, since it may then be the password.
func withoutSecret(name, value string) string {
	switch {
	case name == "header" && client.HoldsSecret(value):
		return ""
	case name == "pac":
		if u, err := url.Parse(value); err == nil && u.User != nil {
			u.User = url.User(u.User.Username())
			return u.String()
		}
		return value
	case name != "proxy" && name != "or":
		return value
	}
	hops := strings.Split(value, ",")
	for i, hop := range hops {
		scheme, rest, ok := strings.Cut(hop, "://")
		if !ok {
			scheme, rest = "", hop
		} else {
			scheme += "://"
		}
		at := strings.LastIndexByte(rest, '@')
		if at < 0 || strings.HasPrefix(hop, "unix:") {
			continue
		}
		user, _, hasPassword := strings.Cut(rest[:at], ":")
		switch {
		case strings.ContainsAny(user, "@/?#[] \t\n"):
			hops[i] = scheme + rest[at+1:]
		case hasPassword:
			hops[i] = scheme + user + rest[at:]
		}
	}
	return strings.Join(hops, ",")
}

// shellWord quotes a word so that every shell reads it as one: ssh runs the command with
// the user's shell. A backslash is doubled, outside the quotes, because fish, alone among
// shells, treats it as an escape within single quotes.
func shellWord(s string) string {
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:=@%+,", r)
	}
	if s != "" && !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.NewReplacer("'", `'\''`, `\`, `'\\'`).Replace(s) + "'"
}
