package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/cli/serve"
	"culvert/tunnel/listen"
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
	logs, err := serve.OpenLogs(&line.Values, talker(line))
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
	listeners, err := bind(ctx, line, server, specs, secure)
	if err != nil {
		return err
	}
	return serveAll(ctx, line, server, listeners, notes, signals)
}

// serveAll serves all listeners and, at a signal, drains.
func serveAll(ctx context.Context, line *args.Line, server *proxy.Server, listeners []net.Listener, notes []string, signals <-chan os.Signal) error {
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	announce(line, server, listeners)
	for _, note := range notes {
		talk(line, "%s", note)
	}
	select {
	case err := <-failed:
		server.Close()
		return fmt.Errorf("a listener failed: %w", err)
	case <-signals:
	}
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
	return nil
}

// announce says where the proxy listens, and which clients may reach which targets.
func announce(line *args.Line, server *proxy.Server, listeners []net.Listener) {
	var summaries []string
	urls := map[string][]string{}
	for _, l := range listeners {
		summary := strings.Join(server.Summary(l), "\n") // settles the limits, so it comes before the line that says so
		talk(line, "listening on %s", listen.URL(l))
		if urls[summary] == nil {
			summaries = append(summaries, summary)
		}
		urls[summary] = append(urls[summary], listen.URL(l))
	}
	for _, summary := range summaries {
		if len(summaries) > 1 {
			talk(line, "on %s:", strings.Join(urls[summary], ", "))
		}
		for _, words := range strings.Split(summary, "\n") {
			talk(line, "%s", words)
		}
	}
}

// bind binds all listeners before any of them accepts, and refuses one that would be
// an open proxy by accident.
func bind(ctx context.Context, line *args.Line, server *proxy.Server, specs []listen.Spec, secure *tls.Config) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	for _, spec := range specs {
		l, err := spec.Listen(ctx)
		if err != nil {
			return listeners, &exit.Error{Err: err, Hint: listen.Hint(err)}
		}
		if spec.TLS {
			l = listen.NewTLS(l, secure)
		}
		listeners = append(listeners, l)
		if err := server.CheckExposure(l); err != nil && !line.Bool("open") {
			return listeners, args.Usagef("want passwords with --users FILE, or client certificates with --tls-client-ca FILE, "+
				"or name the clients with --allow-client CIDR, or listen on 127.0.0.1; --open says that it is meant", "%v", err)
		}
	}
	return listeners, nil
}
