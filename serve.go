package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/serve"
	"culvert/tunnel/proxy"

	"github.com/urfave/cli/v2"
)

func serveCommand(l *commandLine) *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "run a forward proxy: CONNECT tunnels and plain HTTP",
		UsageText: "culvert serve\nculvert serve --listen :3128 --users users.htpasswd\nculvert serve --listen https://:443 --acme proxy.example --users u.htpasswd",
		Description: "PATTERN is HOST[:PORTS]. HOST is *, a name, *.example.com (subdomains),\n" +
			".example.com (and itself), an address or a CIDR (IPv6 in brackets before ports).\n" +
			"PORTS is 443, 22,443, 8000-8999 or *; without them an allow means 22,80,443\n" +
			"and a deny all. A deny wins over an allow.\n\n" +
			"CLASS is public, private, loopback, link-local, metadata or special.\n" +
			"Default: public; on a loopback listener private and loopback too.\n\n" +
			"A ROUTE is http://[USER:PASSWORD@]HOST:PORT (or https, h2, h2c, socks5h,\n" +
			"socks4a), unix:PATH, or direct; hops of a chain are joined by commas,\n" +
			"alternatives, tried in order, by |. https and h2 take ?cacert=FILE&pin=...\n\n" +
			"A duration of 0 turns that limit off.",
		Flags:  urfaveFlags(l.flags["serve"]),
		Action: l.action(runServe),
	}
}

// runServe runs the proxy until a signal, or until a listener fails.
func runServe(ctx context.Context, line *args.Line) error {
	if len(line.Args) > 0 {
		return args.Usagef("culvert serve --help tells the flags", "unexpected argument %q", line.Args[0])
	}
	server, err := serve.NewServer(&line.Values)
	if err != nil {
		return err
	}
	specs, err := serve.ListenSpecs(&line.Values)
	if err != nil {
		return err
	}
	say := talker(line)
	logs, err := serve.OpenLogs(&line.Values, say)
	if err != nil {
		return err
	}
	defer logs.Close()
	server.AccessLog, server.ErrorLog = logs.Access, logs.Errors
	// Before the first listener accepts, so that a signal always drains.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	// The tunnels outlive the reader of the log on stderr.
	signal.Ignore(syscall.SIGPIPE)
	secure, notes, err := serve.NewTLS(&line.Values, specs, server.ErrorLog)
	if err != nil {
		return err
	}
	listeners, err := serve.Bind(ctx, &line.Values, server, specs, secure)
	if err != nil {
		return err
	}
	server.Claim(listeners...)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	serve.Announce(server, listeners, say)
	for _, note := range notes {
		say("%s", note)
	}
	select {
	case err := <-failed:
		server.Close()
		return fmt.Errorf("a listener failed: %w", err)
	case <-signals:
	}
	drain(ctx, line, server, signals)
	return nil
}

// drain waits for the open tunnels to end. A second signal, or the end of
// --drain-timeout, ends them at once.
func drain(ctx context.Context, line *args.Line, server *proxy.Server, signals <-chan os.Signal) {
	cancel, limit := context.CancelFunc(func() {}), "without limit"
	if timeout := line.Duration("drain-timeout"); timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
		limit = "at most " + timeout.String()
	}
	defer cancel()
	if n := server.Open(); n > 0 {
		talk(line, "draining: waiting %s for tunnels to end, of which %d are open; a second signal ends them at once", limit, n)
	}
	drained := make(chan error, 1)
	go func() { drained <- server.Shutdown(ctx) }()
	select {
	case <-drained:
	case <-signals:
		server.Close()
	}
}
