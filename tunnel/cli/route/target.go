package route

import (
	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

const targetForms = "give HOST:PORT, or HOST PORT; IPv6 as [::1]:22, or ::1 22"

// Target reads the target from the arguments, HOST:PORT or HOST PORT.
func Target(words []string) (target tunnel.Authority, err error) {
	switch len(words) {
	case 0:
		return target, args.Usagef(targetForms, "no target given")
	case 1:
		target, err = tunnel.ParseTarget(words[0])
	case 2:
		target, err = tunnel.ParseHostPort(words[0], words[1])
	default:
		return target, args.Usagef(targetForms, "more than a target given: %q", words[2])
	}
	if err != nil {
		return target, args.Usagef(targetForms, "target %v", err)
	}
	return target, nil
}
