package cliway

import (
	"errors"
	"os/exec"

	"culvert/tunnel"
	"culvert/tunnel/cliargs"

	"github.com/urfave/cli/v2"
)

const targetForms = "give HOST:PORT, or HOST PORT; IPv6 as [::1]:22, or ::1 22"

// TargetAndCommand reads the arguments; there is a command only with --exec.
func TargetAndCommand(c *cli.Context) (tunnel.Authority, []string, error) {
	args := c.Args().Slice()
	if !c.Bool("exec") {
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
