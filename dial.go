package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/client"
	"culvert/tunnel/listen"
	"culvert/tunnel/localport"
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
		Action:      l.action(runDial),
	}
}

// dialModes is a paragraph of the help.
const dialModes = `With --exec the command follows the target, behind -- if it has flags:
culvert dial HOST PORT --exec -- COMMAND ARG...`

// runDial opens a tunnel and connects it to stdin and stdout, or does what the flags
// ask for instead.
func runDial(ctx context.Context, line *args.Line) error {
	if err := route.OneMode(&line.Values); err != nil {
		return err
	}
	switch {
	case line.String("why") != "":
		return dialWhy(ctx, line)
	case line.Bool("print-ssh-config"):
		return printSSHConfig(ctx, line)
	case line.String("listen") != "":
		return dialListen(ctx, line)
	}
	target, command, err := route.TargetAndCommand(line.Args, line.Bool("exec"))
	if err != nil {
		return err
	}
	stats, err := route.NewStats(&line.Values, target)
	if err != nil {
		return err
	}
	plan, err := chooserOf(ctx, line).Plan(target)
	if err != nil {
		return err
	}
	d := dialing{
		line: line, target: target, plan: plan, verbose: plan.Verbose(talker(line)), stats: stats,
		started: time.Now(), opened: func() {},
	}
	if len(command) == 0 {
		exitOnSignal()
		d.opened = exitWhenAbandoned(line.Bool("fdpass"))
	}
	err = d.run(command)
	e := exit.Of(err)
	return cmp.Or(err, stats.Write(e.Code, e.Error()))
}

// dialing is one tunnel, from its plan to its end.
type dialing struct {
	line    *args.Line
	target  tunnel.Authority
	plan    *route.Plan
	verbose *route.Verbose
	stats   *route.Stats
	started time.Time
	opened  func() // to be called once the tunnel is open
}

// run opens the tunnel and relays until it ends.
func (d *dialing) run(command []string) error {
	line, c := d.line, d.plan.Client
	behind := stdio.FindBehindSocket()
	if behind == nil {
		var err error
		if c.KeepUnread, err = fdpassWanted(line); err != nil {
			return err
		}
	}
	if c.KeepUnread && !stdio.CanHandOver(c) {
		return handOverByRelay(d.opened)
	}
	d.verbose.Plan(d.target)
	c.Trace = d.verbose.Trace()
	conn, err := c.Open(behind.Context(), d.target)
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
	case command != nil:
		return d.exec(conn, command)
	}
	local := stdio.Stdio{Conn: conn, In: os.Stdin, Out: os.Stdout, OnEOF: stdio.OnEOF(line.String("on-eof"))}
	if behind != nil {
		if err := behind.Opened(); err != nil {
			return err
		}
		// ssh received the whole socket, so when it closes, the session is over.
		local.In, local.Out, local.OnEOF = behind.Socket, behind.Socket, stdio.EOFClose
	}
	result, err := local.Relay()
	_ = conn.Close()
	_ = c.Close() // with HTTP/2 the last bytes may be on their way
	d.stats.Moved(result)
	d.verbose.Ended(result)
	if err == nil && result.Down == 0 && !result.HalfClosed && local.OnEOF != stdio.EOFClose && !c.Route.Direct() {
		// Some proxies answer 2xx before they connect to the target: if they cannot,
		// they can only close the tunnel.
		talk(line, "the other side closed the tunnel before a byte came: behind this proxy %s may refuse, or be down", d.target)
	}
	return exit.Explained(err)
}

// exec runs a command whose stdin and stdout are the tunnel. It passes signals on, and
// ends with the exit code of the command.
func (d *dialing) exec(conn *client.Conn, words []string) error {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stderr = os.Stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGINT { // the terminal sends that to both
					_ = cmd.Process.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	result, err := stdio.Exec(cmd, conn)
	_ = d.plan.Client.Close()
	d.stats.Moved(result)
	d.verbose.Ended(result)
	var failed *exec.ExitError
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &exit.Error{Err: errors.New("--exec does not work on this system"), Hint: "use --listen, or stdin and stdout"}
	case !errors.As(err, &failed):
		return exit.Explained(err)
	case failed.ExitCode() < 0:
		if status, ok := failed.Sys().(syscall.WaitStatus); ok {
			return exit.Signal(status.Signal())
		}
	}
	return exit.Code(failed.ExitCode())
}

// dialListen is dial --listen: each connection to a local port gets a tunnel of its
// own, until a signal.
func dialListen(ctx context.Context, line *args.Line) error {
	p := &localport.LocalPort{Log: slog.New(accesslog.NewHandler(os.Stderr, "text", "info"))}
	spec, socks, err := localport.ParseLocalPort(line.String("listen"))
	switch {
	case err != nil:
		return line.Mistake("listen", err, "as in --listen 2222, --listen 127.0.0.1:2222, --listen unix:PATH or --listen socks5://127.0.0.1:1080")
	case socks && len(line.Args) > 0:
		return args.Usagef("leave it out, or listen without socks5://", "target %q: the programs that speak SOCKS name theirs", line.Args[0])
	case !socks:
		if p.Target, err = route.Target(line.Args); err != nil {
			return err
		}
	}
	if line.IsTyped("on-eof") {
		return args.Usagef("leave it out: each connection ends as its program has it", "--on-eof is for stdin")
	}
	chooser := chooserOf(ctx, line)
	chooser.Made = func(plan *route.Plan) {
		v := plan.Verbose(talker(line))
		v.Plan(p.Target)
		plan.Client.Trace = v.Trace()
	}
	if _, err := chooser.Plan(p.Target); err != nil { // before any connection: a mistake in the flags
		return err
	}
	p.Client = func(target tunnel.Authority) (*client.Client, error) {
		plan, err := chooser.Plan(target)
		if err != nil {
			return nil, err
		}
		return plan.Client, nil
	}
	return serveLocal(ctx, line, p, spec, socks)
}

// serveLocal listens until a signal, and then waits for the open tunnels; a second
// signal ends them at once.
func serveLocal(ctx context.Context, line *args.Line, p *localport.LocalPort, spec listen.Spec, socks bool) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	l, err := spec.Listen(ctx)
	if err != nil {
		return &exit.Error{Err: err, Hint: listen.Hint(err)}
	}
	if listen.BeyondThisMachine(l) && !line.Bool("open") {
		l.Close()
		return args.Usagef("listen on 127.0.0.1; --open says that it is meant", "anyone who reaches %s could go through the proxy in your name", l.Addr())
	}
	failed := make(chan error, 1)
	go func() { failed <- p.Serve(l) }()
	where := l.Addr().String()
	if l.Addr().Network() == "unix" {
		where = "unix:" + where
	}
	if socks {
		where = "socks5://" + where
	}
	talk(line, "listening on %s for %s", where, route.TargetText(p.Target))
	select {
	case err := <-failed:
		p.Close()
		return fmt.Errorf("the listener failed: %w", err)
	case <-signals:
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if timeout := line.Duration("drain-timeout"); timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if n := p.Open(); n > 0 {
		talk(line, "draining: waiting for tunnels to end, of which %d are open; a second signal ends them at once", n)
	}
	go func() {
		<-signals
		cancel()
	}()
	p.Shutdown(ctx)
	return nil
}

// dialWhy is dial --why: it prints the route to a target.
func dialWhy(ctx context.Context, line *args.Line) error {
	target, err := tunnel.ParseTarget(line.String("why"))
	if err != nil {
		return line.Mistake("why", err, "as in --why example.com:443")
	}
	if len(line.Args) > 0 {
		return args.Usagef("leave it out", "unexpected argument %q: --why has its target", line.Args[0])
	}
	plan, err := chooserOf(ctx, line).Plan(target)
	if err != nil {
		return err
	}
	return printed(plan.Explanation(target))
}

// printSSHConfig is dial --print-ssh-config.
func printSSHConfig(ctx context.Context, line *args.Line) error {
	if len(line.Args) == 0 {
		return args.Usagef("as in culvert dial --proxy http://proxy:3128 --print-ssh-config 'git.example.com' '*.example.org'", "--print-ssh-config needs the hosts, as ssh has them")
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	plan, err := chooserOf(ctx, line).Plan(tunnel.Authority{})
	if err != nil {
		return err
	}
	for _, note := range plan.Notes {
		talk(line, "%s", note)
	}
	if plan.Client.Route.Direct() || !strings.HasPrefix(plan.Client.Route.Source, "-") {
		talk(line, "without --proxy the environment that ssh runs in names the proxy")
	}
	return printed(plan.SSHConfig(program, line.Args, stdio.CanHandOver(plan.Client)))
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

// fdpassWanted reports whether --fdpass is given, and refuses it before anything is
// connected if it cannot work. An --on-eof from the environment is for other runs:
// after --fdpass, ssh does the relaying.
func fdpassWanted(line *args.Line) (bool, error) {
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

// handOverByRelay is --fdpass for a tunnel that is more than a socket: ssh gets one
// end of a socket pair, and a child process relays. The child has reported its own
// error.
func handOverByRelay(opened func()) error {
	code, err := stdio.HandOverRelay(os.Stdout, os.Stderr, opened)
	if code != 0 {
		return exit.Code(code)
	}
	return exit.Explained(err)
}
