package dial

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/client"
	"culvert/tunnel/listen"
	"culvert/tunnel/localport"
)

// Listen is dial --listen: each connection to a local port gets a tunnel of its own,
// until a signal. say writes a line to stderr.
func Listen(ctx context.Context, line *args.Line, chooser *route.Chooser, say func(format string, a ...any)) error {
	p := &localport.Server{Log: slog.New(accesslog.NewHandler(os.Stderr, "text", "info"))}
	spec, socks, err := localport.Parse(line.String("listen"))
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
	chooser.Made = func(plan *route.Plan) {
		v := plan.Verbose(say)
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
	return serve(ctx, line, p, spec, socks, say)
}

// serve listens until a signal, and then waits for the open tunnels; a second
// signal ends them at once.
func serve(ctx context.Context, line *args.Line, p *localport.Server, spec listen.Spec, socks bool, say func(format string, a ...any)) error {
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
	say("listening on %s for %s", where, route.TargetText(p.Target))
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
		say("draining: waiting for tunnels to end, of which %d are open; a second signal ends them at once", n)
	}
	go func() {
		<-signals
		cancel()
	}()
	p.Shutdown(ctx)
	return nil
}
