package dial

import (
	"fmt"
	"os"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/stdio"
)

// WantsFDPass reports whether --fdpass is given, and refuses it before anything is
// connected if it cannot work. An --on-eof from the environment is for other runs:
// after --fdpass, ssh does the relaying.
func WantsFDPass(line *args.Line) (bool, error) {
	if !line.Bool("fdpass") {
		return false, nil
	}
	if line.IsTyped("on-eof") {
		return false, args.Usagef("leave one of them out: with --fdpass ssh does the relaying", "--fdpass and --on-eof exclude each other")
	}
	if err := stdio.CheckHandOver(os.Stdout); err != nil {
		return false, line.Mistake("fdpass", fmt.Errorf("stdout %w", err), "it is for ssh's ProxyUseFdpass yes; without that leave --fdpass out")
	}
	return true, nil
}

// HandOverByRelay is --fdpass for a tunnel that is more than a socket: ssh gets one
// end of a socket pair, and a child process relays between the other end and the
// tunnel to target, by the plan. words are the command line, without the program's
// name. opened is called once the child has opened the tunnel. A child that fails
// has reported why by itself.
func HandOverByRelay(words []string, plan *route.Plan, target tunnel.Authority, opened func()) error {
	shown := []string{"dial", "--fdpass", "--proxy=" + plan.Client.Route.String(), "--", target.String()}
	orders := stdio.RelayOrders{Words: words, Credentials: plan.Known()}
	code, err := stdio.HandOverRelay(os.Stdout, os.Stderr, shown, orders, opened)
	if code != 0 {
		return exit.Code(code)
	}
	return exit.Explained(err)
}
