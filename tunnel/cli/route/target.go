package route

import (
	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// targetForms is the hint for a wrong target.
const targetForms = "give HOST:PORT, or HOST PORT; IPv6 as [::1]:22, or ::1 22"

// Target parses the arguments HOST:PORT or HOST PORT. A mistake is an *args.Error.
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
