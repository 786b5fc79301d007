package dial

import (
	"errors"
	"os/exec"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/route"
)

// modes are the flags that exclude each other.
var modes = args.Names{"why", "print-ssh-config", "listen", "exec", "fdpass"}

// OneMode refuses flags that exclude each other: two modes, or --stats with a mode in
// which this process carries no tunnel.
func OneMode(flags *args.Values) error {
	var first string
	for _, name := range modes {
		if !flags.IsGiven(name) {
			continue
		}
		if first != "" {
			return args.Usagef("leave one of them out", "--%s and --%s exclude each other", first, name)
		}
		first = name
	}
	if first != "" && first != "exec" && (flags.Bool("stats") || flags.IsSet("stats-fd")) {
		return args.Usagef("leave one of them out", "--stats is for a tunnel that this process carries, and --%s makes none", first)
	}
	return nil
}

// TargetAndCommand parses the arguments: a target and, with --exec, a command and its
// arguments. Without --exec the command is nil.
func TargetAndCommand(words []string, withCommand bool) (tunnel.Authority, []string, error) {
	if !withCommand {
		target, err := route.Target(words)
		return target, nil, err
	}
	n := 1
	if len(words) > 0 {
		if _, err := tunnel.ParseTarget(words[0]); err != nil {
			n = 2
		}
	}
	if len(words) <= n {
		return tunnel.Authority{}, nil, args.Usagef("as in culvert dial HOST PORT --exec -- COMMAND ARG", "--exec needs a target and a command")
	}
	target, err := route.Target(words[:n])
	if err != nil {
		return target, nil, err
	}
	if _, err := exec.LookPath(words[n]); err != nil {
		return target, nil, args.Usagef("name one that is there", "the command %q cannot be run: %v", words[n], errors.Unwrap(err))
	}
	return target, words[n:], nil
}
