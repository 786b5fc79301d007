package dial

import (
	"time"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/stdio"
)

// Flags returns the flags of dial alone, in the order of the help.
func Flags() []args.Flag {
	return []args.Flag{
		{Name: "or", Kind: args.List,
			Usage: "`ROUTE` to take where the one before cannot be taken, its proxies joined by commas, or direct; again for a further one"},
		{Name: "on-eof", Kind: args.Text, Default: string(stdio.EOFHalfClose),
			Usage: "at end of file on stdin: `half-close|wait|close`; wait helps where a proxy drops the answer after a half-close"},
		{Name: "fdpass", Kind: args.Switch, Aliases: []string{"F"}, TypedOnly: true,
			Usage: "hand the open tunnel's socket over on stdout and exit, for ssh's ProxyUseFdpass yes"},
		{Name: "listen", Kind: args.Text, Aliases: []string{"L"},
			Usage: "instead of stdin and stdout: accept connections on `ADDR`, each for a tunnel of its own: " +
				"PORT or HOST:PORT, unix:PATH, or socks5://HOST:PORT, which needs no target"},
		{Name: "open", Kind: args.Switch, TypedOnly: true,
			Usage: "with --listen: beyond this machine, for anyone, on purpose"},
		{Name: "drain-timeout", Kind: args.Duration, Default: 8 * time.Second, // the same as that of serve
			Usage: "with --listen: after SIGTERM, `TIME` for open tunnels to end"},
		{Name: "exec", Kind: args.Switch, TypedOnly: true,
			Usage: "instead of stdin and stdout: run the command behind the target, whose own they become"},
		{Name: "stats", Kind: args.Switch, Usage: "at the end, one line of JSON on stderr: bytes, times, exit code"},
		{Name: "stats-fd", Kind: args.Number, Usage: "or on the descriptor `N`"},
		{Name: "why", Kind: args.Text, Usage: "print how `HOST:PORT` would be reached, and why so, and exit"},
		{Name: "print-ssh-config", Kind: args.Switch,
			Usage: "print the lines for ~/.ssh/config that send the hosts in the arguments this way, and exit"},
		{Name: "as", Kind: args.Text,
			Usage: "take the arguments of another program, PROXY PORT HOST PORT [AUTHFILE]: `corkscrew`; so called, culvert does"},
	}
}
