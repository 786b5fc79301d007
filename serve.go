package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/journal"
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
			"alternatives, tried in order, by |. https and h2 take ?cacert=FILE&pin=...\n" +
			"?credentials=FILE names a file of one line, user:password, for a hop.\n\n" +
			"A duration of 0 turns that limit off.",
		Flags:  urfaveFlags(l.flags["serve"]),
		Action: l.action(l.runServe),
	}
}

// runServe runs the proxy until a signal, or until a listener fails.
func (l *commandLine) runServe(ctx context.Context, line *args.Line) error {
	if len(line.Args) > 0 {
		return args.Usagef("culvert serve --help tells the flags", "unexpected argument %q", line.Args[0])
	}
	// The tunnels outlive the reader of the log on stderr.
	signal.Ignore(syscall.SIGPIPE)
	reloads := serve.NotifyReload()
	j := l.openServeJournal()
	server, err := serve.NewServer(&line.Values)
	if err != nil {
		return err
	}
	rules, err := serve.ReadRules(&line.Values, &server.Policy)
	if err != nil {
		return err
	}
	specs, err := serve.ListenSpecs(&line.Values)
	if err != nil {
		return err
	}
	logs, err := serve.OpenLogs(&line.Values, j)
	if err != nil {
		return err
	}
	defer logs.Close()
	server.AccessLog, server.ErrorLog = logs.Access, logs.Errors
	if users, ok := server.Verifier.(*proxy.Users); ok {
		users.Log = logs.Errors
	}
	secure, err := serve.NewTLS(&line.Values, specs, server.ErrorLog)
	if err != nil {
		return err
	}
	listeners, notes, err := serve.Bind(ctx, &line.Values, server, specs, secure)
	if err != nil {
		return err
	}
	server.Claim(listeners...)
	selfSigned, certificate := serve.SelfSigned(secure, listeners)
	var removed []string
	if certificate != "" {
		removed = append(removed, certificate)
		defer os.Remove(certificate)
	}
	sandboxed := serve.Sandbox(&line.Values, specs, removed)
	// Before the first listener accepts, so that a signal always drains.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	serve.Announce(server, listeners, j.Say)
	notes = append(sandboxed, notes...)
	notes = append(notes, serve.ViaNotes(&line.Values, server)...)
	if secure != nil {
		notes = append(notes, secure.Notes...)
	}
	notes = append(notes, selfSigned...)
	if note := server.LimitNote(); note != "" {
		notes = append(notes, note)
	}
	for _, note := range notes {
		j.Say("%s", note)
	}
	reloader := serve.Reloader{Server: server, Logs: logs, Rules: rules, TLS: secure, Journal: j}
	go reloader.Watch(reloads)
	select {
	case err = <-failed:
		err = fmt.Errorf("a listener failed: %w", err)
	case <-signals:
		drain(ctx, line.Duration("drain-timeout"), server, j, signals)
	}
	end(server)
	return err
}

// drain waits for the open tunnels to end, for as long as timeout, 0 = without limit, or
// until another signal.
func drain(ctx context.Context, timeout time.Duration, server *proxy.Server, j *journal.Journal, signals <-chan os.Signal) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := "without limit"
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
		limit = "at most " + timeout.String()
	}
	drained := make(chan error, 1)
	go func() { drained <- server.Shutdown(ctx) }()
	if n := server.Open(); n > 0 {
		j.Say("draining: waiting %s for tunnels to end, of which %d are open; a second signal ends them at once", limit, n)
	}
	select {
	case <-drained:
	case <-ctx.Done():
	case <-signals:
	}
}

// endPatience bounds how long tunnels may take to end once they are ended.
const endPatience = 500 * time.Millisecond

// end ends what is left of the tunnels, and gives up waiting for it when endPatience is
// over: a signal ends the program, whatever a peer does.
func end(server *proxy.Server) {
	ended := make(chan error, 1)
	go func() { ended <- server.Close() }()
	select {
	case <-ended:
	case <-time.After(endPatience):
	}
}
