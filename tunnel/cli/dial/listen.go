package dial

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/cli/journal"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/client"
	"culvert/tunnel/listen"
	"culvert/tunnel/localport"
)

// Listen is dial --listen: each connection to a local port gets a tunnel of its own,
// until a signal. It logs to the journal, and speaks there.
func Listen(ctx context.Context, line *args.Line, chooser *route.Chooser, j *journal.Journal) error {
	p := &localport.Server{Log: j.Log}
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
		v := plan.Verbose(j.Say)
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
	return serve(ctx, line, p, spec, socks, j)
}

// endPatience bounds how long tunnels may take to end once they are ended.
const endPatience = 500 * time.Millisecond

// serve listens until a signal, and then waits for the open tunnels; a second
// signal ends them at once.
func serve(ctx context.Context, line *args.Line, p *localport.Server, spec listen.Spec, socks bool, j *journal.Journal) error {
	l, err := spec.Listen(ctx)
	if err != nil {
		return &exit.Error{Err: err, Hint: listen.Hint(err)}
	}
	if listen.BeyondThisMachine(l) && !line.Bool("open") {
		l.Close()
		return args.Usagef("listen on 127.0.0.1; --open says that it is meant", "anyone who reaches %s could go through the proxy in your name", l.Addr())
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // the tunnels outlive the reader of the log
	failed := make(chan error, 1)
	go func() { failed <- p.Serve(l) }()
	where := l.Addr().String()
	if l.Addr().Network() == "unix" {
		where = "unix:" + where
	}
	if socks {
		where = "socks5://" + where
	}
	j.Say("listening on %s for %s", where, route.TargetText(p.Target))
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
		j.Say("draining: waiting for tunnels to end, of which %d are open; a second signal ends them at once", n)
	}
	drained := make(chan struct{})
	go func() { p.Shutdown(ctx); close(drained) }()
	select {
	case <-drained:
		return nil
	case <-signals:
		cancel()
	case <-ctx.Done():
	}
	select {
	case <-drained:
	case <-time.After(endPatience): // a signal ends the program, whatever a peer does
	}
	return nil
}
