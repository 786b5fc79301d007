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
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/route"

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
		Description: route.Choice + "\n\n" + dialModes,
		Flags:       urfaveFlags(flagTable("dial")),
		Action:      l.action(runDial),
	}
}

// dialModes is for the help.
const dialModes = `With --exec the command follows the target, behind -- if it has flags:
culvert dial HOST PORT --exec -- COMMAND ARG...`

// runDial is the verb.
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
	way, err := chooserOf(ctx, line).To(target)
	if err != nil {
		return err
	}
	d := dialing{line: line, target: target, way: way, verbose: way.Verbose(talker(line)), stats: stats, started: time.Now(), opened: func() {}}
	if len(command) == 0 {
		dieOnSignal()
		d.opened = dieAbandoned(line.Bool("fdpass"))
	}
	err = d.run(command)
	end := ending(err)
	return cmp.Or(err, stats.Write(end.code, end.Error()))
}

// dialing is one tunnel, from its way to its end.
type dialing struct {
	line    *args.Line
	target  tunnel.Authority
	way     *route.Way
	verbose *route.Verbose
	stats   *route.Stats
	started time.Time
	opened  func() // to be called once the tunnel is open
}

func (d *dialing) run(command []string) error {
	line, way := d.line, d.way
	behind := tunnel.FindBehindSocket()
	if behind == nil {
		var err error
		if way.Client.KeepUnread, err = fdpassOf(line); err != nil {
			return err
		}
	}
	if way.Client.KeepUnread && !tunnel.CanHandOver(way.Client) {
		return handOverRelay(d.opened)
	}
	d.verbose.Plan(d.target)
	way.Client.Trace = d.verbose.Trace()
	conn, err := way.Client.Open(behind.Context(), d.target)
	if err != nil {
		return explained(err)
	}
	d.opened()
	d.stats.Opened(conn)
	d.verbose.Say("tunnel open after %d ms", time.Since(d.started).Milliseconds())
	switch {
	case way.Client.KeepUnread:
		d.verbose.Say("handing the socket over")
		return explained(tunnel.HandOver(conn, os.Stdout))
	case command != nil:
		return d.exec(conn, command)
	}
	stdio := tunnel.Stdio{Conn: conn, In: os.Stdin, Out: os.Stdout, OnEOF: tunnel.OnEOF(line.String("on-eof"))}
	if behind != nil {
		if err := behind.Opened(); err != nil {
			return err
		}
		// Who has the other end has it whole: its end is the session's.
		stdio.In, stdio.Out, stdio.OnEOF = behind.Socket, behind.Socket, tunnel.EOFClose
	}
	result, err := stdio.Relay()
	_ = conn.Close()
	_ = way.Client.Close() // with HTTP/2 the last bytes may be on their way
	d.stats.Moved(result)
	d.verbose.Ended(result)
	if err == nil && result.Down == 0 && !result.HalfClosed && stdio.OnEOF != tunnel.EOFClose && !way.Client.Route.Direct() {
		// Some proxies say 2xx before they connect: then this is all there is.
		talk(line, "the other side closed the tunnel before a byte came: behind this proxy %s may refuse, or be down", d.target)
	}
	return explained(err)
}

// exec runs the command in the tunnel; its exit code is ours.
func (d *dialing) exec(conn *tunnel.Conn, words []string) error {
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
				if s != syscall.SIGINT { // the terminal gives that to both
					_ = cmd.Process.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	result, err := tunnel.Exec(cmd, conn)
	_ = d.way.Client.Close()
	d.stats.Moved(result)
	d.verbose.Ended(result)
	var exit *exec.ExitError
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &failure{err: errors.New("--exec does not work on this system"), hint: "use --listen, or stdin and stdout"}
	case !errors.As(err, &exit):
		return explained(err)
	case exit.ExitCode() < 0:
		if status, ok := exit.Sys().(syscall.WaitStatus); ok {
			return &failure{code: 128 + int(status.Signal())}
		}
	}
	return &failure{code: exit.ExitCode()}
}

// dialListen gives each connection to a local port a tunnel of its own, until a
// signal.
func dialListen(ctx context.Context, line *args.Line) error {
	p := &tunnel.LocalPort{Log: slog.New(tunnel.NewLogHandler(os.Stderr, "text", "info"))}
	spec, socks, err := tunnel.ParseLocalPort(line.String("listen"))
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
	chooser.Made = func(w *route.Way) {
		v := w.Verbose(talker(line))
		v.Plan(p.Target)
		w.Client.Trace = v.Trace()
	}
	if _, err := chooser.To(p.Target); err != nil { // what is wrong with the flags is told now
		return err
	}
	p.Client = func(target tunnel.Authority) (*tunnel.Client, error) {
		way, err := chooser.To(target)
		if err != nil {
			return nil, err
		}
		return way.Client, nil
	}
	return serveLocal(ctx, line, p, spec, socks)
}

// serveLocal listens, and drains at a signal; a second one ends at once.
func serveLocal(ctx context.Context, line *args.Line, p *tunnel.LocalPort, spec tunnel.ListenSpec, socks bool) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	l, err := spec.Listen(ctx)
	if err != nil {
		return &failure{err: err, hint: tunnel.ListenHint(err)}
	}
	if tunnel.BeyondThisMachine(l) && !line.Bool("open") {
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

// dialWhy prints the way to a target.
func dialWhy(ctx context.Context, line *args.Line) error {
	target, err := tunnel.ParseTarget(line.String("why"))
	if err != nil {
		return line.Mistake("why", err, "as in --why example.com:443")
	}
	if len(line.Args) > 0 {
		return args.Usagef("leave it out", "unexpected argument %q: --why has its target", line.Args[0])
	}
	way, err := chooserOf(ctx, line).To(target)
	if err != nil {
		return err
	}
	return printed(way.Explanation(target))
}

// printSSHConfig prints what ssh needs to know.
func printSSHConfig(ctx context.Context, line *args.Line) error {
	if len(line.Args) == 0 {
		return args.Usagef("as in culvert dial --proxy http://proxy:3128 --print-ssh-config 'git.example.com' '*.example.org'", "--print-ssh-config needs the hosts, as ssh has them")
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	way, err := chooserOf(ctx, line).To(tunnel.Authority{})
	if err != nil {
		return err
	}
	for _, note := range way.Notes {
		talk(line, "%s", note)
	}
	if way.Client.Route.Direct() || !strings.HasPrefix(way.Client.Route.Source, "-") {
		talk(line, "without --proxy the environment that ssh runs in names the proxy")
	}
	return printed(way.SSHConfig(program, line.Args, tunnel.CanHandOver(way.Client)))
}

// dieAbandoned ends the program, as SIGPIPE would, when whoever started it is
// gone while the tunnel is being opened, until stop: a killed ssh sends no signal,
// and a proxy may be silent for long. With --fdpass stdin means nothing.
func dieAbandoned(fdpass bool) (stop func()) {
	in := os.Stdin
	if fdpass {
		in = nil
	}
	return tunnel.WhenAbandoned(in, os.Stdout, func() { os.Exit(128 + int(syscall.SIGPIPE)) })
}

// fdpassOf judges --fdpass before anything is connected. An --on-eof from the
// environment is for other runs: after --fdpass, ssh does the relaying.
func fdpassOf(line *args.Line) (bool, error) {
	if !line.Bool("fdpass") {
		return false, nil
	}
	if line.IsTyped("on-eof") {
		return false, args.Usagef("leave one of them out: with --fdpass ssh does the relaying", "--fdpass and --on-eof exclude each other")
	}
	if err := tunnel.CheckHandOver(os.Stdout); err != nil {
		return false, line.Mistake("fdpass", fmt.Errorf("stdout %w", err), "it is for ssh's ProxyUseFdpass yes; without that leave --fdpass out")
	}
	return true, nil
}

// handOverRelay is --fdpass for a tunnel that is more than a socket: another
// process relays, and has said why if it does not.
func handOverRelay(opened func()) error {
	code, err := tunnel.HandOverRelay(os.Stdout, os.Stderr, opened)
	if code != 0 {
		return &failure{code: code}
	}
	return explained(err)
}
