package cliway

import (
	"errors"
	"os/exec"

	"culvert/tunnel"
	"culvert/tunnel/cliargs"
)

const targetForms = "give HOST:PORT, or HOST PORT; IPv6 as [::1]:22, or ::1 22"

// TargetAndCommand reads the arguments; there is a command only
// withCommand, which is --exec.
func TargetAndCommand(args []string, withCommand bool) (tunnel.Authority, []string, error) {
	if !withCommand {
		target, err := Target(args)
		return target, nil, err
	}
	n := 1
	if len(args) > 0 {
		if _, err := tunnel.ParseTarget(args[0]); err != nil {
			n = 2
		}
	}
	if len(args) <= n {
		return tunnel.Authority{}, nil, cliargs.Usagef("as in culvert dial HOST PORT --exec -- COMMAND ARG", "--exec needs a target and a command")
	}
	target, err := Target(args[:n])
	if err != nil {
		return target, nil, err
	}
	if _, err := exec.LookPath(args[n]); err != nil {
		return target, nil, cliargs.Usagef("name one that is there", "the command %q cannot be run: %v", args[n], errors.Unwrap(err))
	}
	return target, args[n:], nil
}

// Target reads the arguments, HOST:PORT or HOST PORT.
func Target(args []string) (target tunnel.Authority, err error) {
	switch len(args) {
	case 0:
		return target, cliargs.Usagef(targetForms, "no target given")
	case 1:
		target, err = tunnel.ParseTarget(args[0])
	case 2:
		target, err = tunnel.ParseHostPort(args[0], args[1])
	default:
		return target, cliargs.Usagef(targetForms, "more than a target given: %q", args[2])
	}
	if err != nil {
		return target, cliargs.Usagef(targetForms, "target %v", err)
	}
	return target, nil
}

// modes exclude each other.
var modes = []string{"why", "print-ssh-config", "listen", "exec", "fdpass"}

// OneMode refuses flags of dial that cannot be meant together.
func OneMode(c cliargs.Values) error {
	var first string
	for _, name := range modes {
		if value := c.String(name); value == "" || value == "false" {
			continue
		}
		if first != "" {
			return cliargs.Usagef("leave one of them out", "--%s and --%s exclude each other", first, name)
		}
		first = name
	}
	if first != "" && first != "exec" && (c.Bool("stats") || c.IsSet("stats-fd")) {
		return cliargs.Usagef("leave one of them out", "--stats is for a tunnel that this process carries, and --%s makes none", first)
	}
	return nil
}
