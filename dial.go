package main

import (
	"cmp"
	"context"
	"os"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/dial"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/client"
	"culvert/tunnel/stdio"

	"github.com/urfave/cli/v2"
)

func dialCommand(l *commandLine) *cli.Command {
	return &cli.Command{
		Name:      "dial",
		Usage:     "open a tunnel through proxies and be it, on stdin and stdout",
		ArgsUsage: "HOST:PORT | HOST PORT",
		UsageText: "ssh -o 'ProxyCommand culvert dial --proxy http://proxy:3128 -- %h %p' host\n" +
			"ssh -o ProxyUseFdpass=yes -o 'ProxyCommand culvert dial -F -- %h %p' host\n" +
			"culvert dial --proxy http://proxy.corp:3128 -- example.com 22\n" +
			"HTTPS_PROXY=http://proxy.corp:3128 culvert dial -v example.com:443",
		Description: route.HelpText + "\n\n" + dialModes,
		Flags:       urfaveFlags(l.flags["dial"]),
		Action:      l.action(l.runDial),
	}
}

// dialModes is a paragraph of the help.
const dialModes = `With --exec the command follows the target, behind -- if it has flags:
culvert dial HOST PORT --exec -- COMMAND ARG...`

// runDial opens a tunnel and connects it to stdin and stdout, or does what the flags
// ask for instead.
func (l *commandLine) runDial(ctx context.Context, line *args.Line) error {
	if err := dial.OneMode(&line.Values); err != nil {
		return err
	}
	chooser, say := chooserOf(ctx, line), talker(line)
	if l.relay != nil {
		chooser.Known = l.relay.Orders.Credentials
	}
	switch {
	case line.String("why") != "":
		return printed(dial.Why(line, chooser))
	case line.Bool("print-ssh-config"):
		return printed(dial.SSHConfig(line, chooser, say))
	case line.String("listen") != "":
		return dial.Listen(ctx, line, chooser, l.openJournal("text", "info"))
	}
	target, command, err := dial.TargetAndCommand(line.Args, line.Bool("exec"))
	if err != nil {
		return err
	}
	stats, err := dial.NewStats(&line.Values, target)
	if err != nil {
		return err
	}
	plan, err := chooser.Plan(target)
	if err != nil {
		return err
	}
	d := dialing{
		line: line, target: target, command: command, plan: plan, verbose: plan.Verbose(say), stats: stats,
		started: time.Now(), opened: func() {}, typed: l.typed, behind: l.relay,
	}
	if len(command) == 0 { // a command gets the signals itself
		exitOnSignal()
		d.opened = exitWhenAbandoned(line.Bool("fdpass"))
	}
	err = d.run()
	e := exit.Of(err)
	return cmp.Or(err, stats.Write(e.Code, e.Error()))
}

// dialing is one tunnel, from its plan to its end.
type dialing struct {
	line    *args.Line
	target  tunnel.Authority
	command []string // of --exec; nil = stdin and stdout
	plan    *route.Plan
	verbose *route.Verbose
	stats   *dial.Stats
	started time.Time
	opened  func() // to be called once the tunnel is open
	typed   []string
	behind  *stdio.RelayProcess // nil unless --fdpass has started this process
}

// run opens the tunnel and gives it to ssh (--fdpass), to a command (--exec), or to
// stdin and stdout until it ends.
func (d *dialing) run() error {
	c := d.plan.Client
	if d.behind == nil {
		var err error
		if c.KeepUnread, err = dial.WantsFDPass(d.line); err != nil {
			return err
		}
	}
	if c.KeepUnread && !stdio.CanHandOver(c) {
		return dial.HandOverByRelay(d.typed, d.plan, d.target, d.opened)
	}
	d.verbose.Plan(d.target)
	c.Trace = d.verbose.Trace()
	conn, err := c.Open(d.behind.Context(), d.target)
	if err != nil {
		return exit.Explained(err)
	}
	d.opened()
	d.stats.Opened(conn)
	d.verbose.Say("tunnel open after %d ms", time.Since(d.started).Milliseconds())
	switch {
	case c.KeepUnread:
		d.verbose.Say("handing the socket over")
		return exit.Explained(stdio.HandOver(conn, os.Stdout))
	case d.command != nil:
		result, err := dial.Exec(conn, d.command, &d.line.Values)
		d.ended(result)
		return err
	}
	return d.relay(conn)
}

// relay carries the tunnel on stdin and stdout or, in the child process that relays
// for --fdpass, on the socket that ssh has the other end of.
func (d *dialing) relay(conn *client.Conn) error {
	local := stdio.Tunnel{Conn: conn, In: os.Stdin, Out: os.Stdout, OnEOF: stdio.OnEOF(d.line.String("on-eof"))}
	if d.behind != nil {
		if err := d.behind.Opened(); err != nil {
			return err
		}
		// ssh received the whole socket, so when it closes, the session is over.
		local.In, local.Out, local.OnEOF = d.behind.Socket, d.behind.Socket, stdio.EOFClose
	}
	result, err := local.Relay()
	_ = conn.Close()
	d.ended(result)
	if err == nil && result.Down == 0 && !result.HalfClosed && local.OnEOF != stdio.EOFClose && !d.plan.Client.Route.Direct() {
		// Some proxies answer 2xx before they connect to the target: if they cannot,
		// they can only close the tunnel.
		talk(d.line, "the other side closed the tunnel before a byte came: behind this proxy %s may refuse, or be down", d.target)
	}
	return exit.Explained(err)
}

// ended closes the connections to proxies and records what went through the tunnel.
func (d *dialing) ended(result stdio.Result) {
	_ = d.plan.Client.Close() // with HTTP/2 the last bytes may be on their way
	d.stats.Moved(result)
	d.verbose.Ended(result)
}

// exitWhenAbandoned ends the program, as SIGPIPE would, if the process that started
// it goes away before stop is called: a killed ssh sends no signal, and a proxy may
// take long to answer. With --fdpass stdin means nothing.
func exitWhenAbandoned(fdpass bool) (stop func()) {
	in := os.Stdin
	if fdpass {
		in = nil
	}
	return stdio.WhenAbandoned(in, os.Stdout, func() { os.Exit(128 + int(syscall.SIGPIPE)) })
}
