package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"

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
		Flags:  urfaveFlags(flagTable("serve")),
		Action: l.action(runServe),
	}
}

func serveFlags() []args.Flag {
	return []args.Flag{
		{Name: "listen", Kind: args.List, KeepSpace: true, DefaultText: tunnel.DefaultListen, Usage: "accept clients on `URL`: http://HOST:PORT, https://HOST:PORT, HOST:PORT or unix:PATH"},
		{Name: "tls-cert", Kind: args.Text, Usage: "certificate, and its chain, of https listeners: a PEM `FILE`, read anew when it changes"},
		{Name: "tls-key", Kind: args.Text, Usage: "the certificate's key: a PEM `FILE`"},
		{Name: "tls-self-signed", Kind: args.Switch, Usage: "make a certificate in memory instead, to try things out, and print its pin"},
		{Name: "acme", Kind: args.List, KeepSpace: true, Usage: "get a certificate for `HOST`, whose port 443 leads here, from an ACME authority, and accept its terms"},
		{Name: "acme-dir", Kind: args.Text, DefaultText: "culvert-acme in your cache folder", Usage: "with --acme: keep certificates in `DIR`"},
		{Name: "acme-url", Kind: args.Text, Usage: "with --acme: `URL` of the authority's directory, if not Let's Encrypt's"},
		{Name: "acme-ca", Kind: args.Text, Usage: "with --acme: PEM `FILE` of authorities to trust for that URL"},
		{Name: "tls-client-ca", Kind: args.Text, Usage: "a client certificate from the authorities in this PEM `FILE` makes a user"},
		{Name: "allow", Kind: args.List, KeepSpace: true, DefaultText: "*:22,80,443", Usage: "allow targets that match `PATTERN`"},
		{Name: "deny", Kind: args.List, KeepSpace: true, Usage: "deny targets that match `PATTERN`"},
		{Name: "allow-addr", Kind: args.List, KeepSpace: true, Usage: "allow targets that lead to `WHERE`, a CIDR or a class"},
		{Name: "deny-addr", Kind: args.List, KeepSpace: true, Usage: "deny targets that lead to `WHERE`, a CIDR or a class"},
		{Name: "allow-client", Kind: args.List, KeepSpace: true, Usage: "serve only clients from `CIDR`"},
		{Name: "users", Kind: args.Text, Usage: "want a user name and password that are in the htpasswd `FILE`"},
		{Name: "realm", Kind: args.Text, Default: "culvert", Usage: "name of what the password is for"},
		{Name: "open", Kind: args.Switch, TypedOnly: true, Usage: "serve anyone who reaches a listener: an open proxy, on purpose"},
		{Name: "via", Kind: args.List, KeepSpace: true, Usage: "reach targets through another proxy by `RULE`: ROUTE, or PATTERN=ROUTE; first match wins"},
		{Name: "via-resolve", Kind: args.Switch, Usage: "resolve names behind --via here, judge the addresses, and ask the proxy for these"},
		{Name: "header-timeout", Kind: args.Duration, Default: tunnel.DefaultHeaderTimeout, Usage: "`TIME` for a request's head to arrive"},
		{Name: "connect-timeout", Kind: args.Duration, Default: tunnel.DefaultConnectTimeout, Usage: "`TIME` to resolve and connect"},
		{Name: "idle-timeout", Kind: args.Duration, DefaultText: "off", Usage: "end tunnels, and plain requests, that are silent both ways for `TIME`"},
		{Name: "linger", Kind: args.Duration, Default: tunnel.DefaultLinger, Usage: "end a tunnel's second half after `TIME` without progress"},
		{Name: "max-tunnels", Kind: args.Number, DefaultText: "what the descriptor limit carries", Usage: "open at most `N` tunnels at once"},
		{Name: "max-tunnels-per-client", Kind: args.Number, DefaultText: "off", Usage: "and at most `N` for one client address"},
		{Name: "drain-timeout", Kind: args.Duration, Default: 30 * time.Second, Usage: "after SIGTERM, `TIME` for open tunnels to end"},
		{Name: "name", Kind: args.Text, DefaultText: "culvert- and random digits", Usage: "this proxy's `NAME` in Via and Proxy-Status"},
		{Name: "access-log", Kind: args.Text, Default: "-", Usage: "append the access log to `FILE`; - is stderr"},
		{Name: "log-format", Kind: args.Text, Default: "text", Usage: "log as `text|json`"},
		{Name: "log-level", Kind: args.Text, Default: "info", Usage: "log from this level on: `debug|info|warn|error`"},
	}
}

// runServe runs the proxy until a signal or a failure.
func runServe(ctx context.Context, line *args.Line) error {
	if len(line.Args) > 0 {
		return args.Usagef("culvert serve --help tells the flags", "unexpected argument %q", line.Args[0])
	}
	server, err := newServer(line)
	if err != nil {
		return err
	}
	specs, err := listenSpecs(line)
	if err != nil {
		return err
	}
	logs, err := openLogs(line)
	if err != nil {
		return err
	}
	defer logs.Close()
	server.AccessLog, server.ErrorLog = logs.access, logs.errors
	// Before the first listener, so that a signal finds someone who drains.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	// Whoever reads the log on stderr may go away; the tunnels stay.
	signal.Ignore(syscall.SIGPIPE)
	secure, notes, err := readTLS(line, specs, server.ErrorLog)
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
func serveAll(ctx context.Context, line *args.Line, server *tunnel.Server, listeners []net.Listener, notes []string, signals <-chan os.Signal) error {
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

// announce says where the proxy listens and who may go where.
func announce(line *args.Line, server *tunnel.Server, listeners []net.Listener) {
	var summaries []string
	urls := map[string][]string{}
	for _, l := range listeners {
		summary := strings.Join(server.Summary(l), "\n") // settles the limits, before anybody reads that we listen
		talk(line, "listening on %s", tunnel.ListenerURL(l))
		if urls[summary] == nil {
			summaries = append(summaries, summary)
		}
		urls[summary] = append(urls[summary], tunnel.ListenerURL(l))
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

func listenSpecs(line *args.Line) ([]tunnel.ListenSpec, error) {
	urls := line.Strings("listen")
	if len(urls) == 0 {
		urls = []string{tunnel.DefaultListen}
	}
	specs := make([]tunnel.ListenSpec, len(urls))
	for i, url := range urls {
		var err error
		if specs[i], err = tunnel.ParseListen(url); err != nil {
			return nil, line.Mistake("listen", fmt.Errorf("%q: %w", url, err), "as in --listen 127.0.0.1:3128, --listen '[::1]:3128' or --listen unix:/run/culvert.sock")
		}
	}
	return specs, nil
}

// readTLS reads what https listeners need, and what a person should know of it;
// nil if there is no such listener.
func readTLS(line *args.Line, specs []tunnel.ListenSpec, errorLog *slog.Logger) (*tls.Config, []string, error) {
	o := tunnel.ServerTLS{
		CertFile: line.String("tls-cert"), KeyFile: line.String("tls-key"), SelfSigned: line.Bool("tls-self-signed"),
		ClientCAFile: line.String("tls-client-ca"), Log: errorLog,
		ACME: tunnel.ACME{Hosts: line.Strings("acme"), Dir: line.String("acme-dir"), URL: line.String("acme-url"), RootsFile: line.String("acme-ca")},
	}
	for _, spec := range specs {
		if spec.TLS {
			o.Hosts = append(o.Hosts, spec.Host())
		}
	}
	if hint, err := o.Check(len(o.Hosts) > 0); err != nil {
		return nil, nil, args.Usagef(hint, "%v", err)
	}
	config, notes, err := o.Config()
	if err != nil {
		return nil, nil, &failure{err: fmt.Errorf("cannot set TLS up: %w", err), hint: "certificates, keys and authorities are in PEM files, as openssl and certbot write them; --acme-dir is a folder of serve's own"}
	}
	return config, notes, nil
}

// bind binds every listener before any of them accepts, and refuses those
// that would be an open proxy by accident.
func bind(ctx context.Context, line *args.Line, server *tunnel.Server, specs []tunnel.ListenSpec, secure *tls.Config) (listeners []net.Listener, err error) {
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
			return listeners, &failure{err: err, hint: tunnel.ListenHint(err)}
		}
		if spec.TLS {
			l = tunnel.NewTLSListener(l, secure)
		}
		listeners = append(listeners, l)
		if err := server.CheckExposure(l); err != nil && !line.Bool("open") {
			return listeners, args.Usagef("want passwords with --users FILE, or client certificates with --tls-client-ca FILE, or name the clients with --allow-client CIDR, or listen on 127.0.0.1; --open says that it is meant", "%v", err)
		}
	}
	return listeners, nil
}

// newServer makes the Server that the flags describe.
func newServer(line *args.Line) (*tunnel.Server, error) {
	s := &tunnel.Server{
		ViaResolve: line.Bool("via-resolve"), Name: line.String("name"), Realm: line.String("realm"), MaxTunnelsPerClient: line.Int("max-tunnels-per-client"),
		HeaderTimeout: zeroIsOff(line.Duration("header-timeout")), ConnectTimeout: zeroIsOff(line.Duration("connect-timeout")),
		IdleTimeout: line.Duration("idle-timeout"), Linger: zeroIsOff(line.Duration("linger")),
	}
	if line.IsSet("max-tunnels") {
		if s.MaxTunnels = line.Int("max-tunnels"); s.MaxTunnels == 0 {
			s.MaxTunnels = -1
		}
	}
	if s.Name != "" {
		if err := tunnel.CheckName(s.Name); err != nil {
			return nil, line.Mistake("name", err, "as in --name proxy.example.com")
		}
	}
	for _, name := range []string{"header-timeout", "connect-timeout", "idle-timeout", "linger", "drain-timeout"} {
		if line.Duration(name) < 0 {
			return nil, line.Mistake(name, errors.New("a duration cannot be negative"), "0 turns the limit off")
		}
	}
	for _, name := range []string{"max-tunnels", "max-tunnels-per-client"} {
		if line.Int(name) < 0 {
			return nil, line.Mistake(name, errors.New("a number of tunnels cannot be negative"), "0 turns the limit off")
		}
	}
	if file := line.String("users"); file != "" {
		users, err := tunnel.LoadUsers(file)
		if err != nil {
			return nil, line.Mistake("users", err, "make the file with: htpasswd -B -c FILE NAME")
		}
		s.Verifier = users
	}
	return s, readRules(line, s)
}

// zeroIsOff translates the command line's 0 for the library, where 0 is the
// default and what is negative is off.
func zeroIsOff(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// readRules reads the repeatable flags that judge and route.
func readRules(line *args.Line, s *tunnel.Server) (err error) {
	const patterns = "HOST[:PORTS], as in '*.example.com:22,443'; culvert serve --help tells the forms"
	const addresses = "a CIDR as 10.0.0.0/8, an address, or public, private, loopback, link-local, metadata, special"
	if s.Policy.Allow, err = each(line, "allow", patterns, tunnel.ParsePattern); err != nil {
		return err
	}
	if s.Policy.Deny, err = each(line, "deny", patterns, tunnel.ParsePattern); err != nil {
		return err
	}
	if s.Policy.AllowAddr, err = each(line, "allow-addr", addresses, tunnel.ParseAddrRule); err != nil {
		return err
	}
	if s.Policy.DenyAddr, err = each(line, "deny-addr", addresses, tunnel.ParseAddrRule); err != nil {
		return err
	}
	if s.AllowClient, err = each(line, "allow-client", "a CIDR as 10.0.0.0/8, or an address", tunnel.ParseNetwork); err != nil {
		return err
	}
	s.Via, err = each(line, "via", "http://HOST:PORT, or PATTERN=http://HOST:PORT", tunnel.ParseViaRule)
	return err
}

// each parses all values of a repeatable flag; nil if there are none.
func each[T any](line *args.Line, name, hint string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, value := range line.Strings(name) {
		v, err := parse(value)
		if err != nil {
			return nil, line.Mistake(name, err, hint)
		}
		out = append(out, v)
	}
	return out, nil
}

// logs are where records and trouble go.
type logs struct {
	access, errors *slog.Logger
	file           *os.File // nil = stderr
	lines          *tunnel.LineWriter
}

// openLogs opens the access log; its trouble is told on stderr.
func openLogs(line *args.Line) (*logs, error) {
	l := &logs{errors: slog.New(tunnel.NewLogHandler(os.Stderr, line.String("log-format"), line.String("log-level")))}
	// What net/http has to say of origins is of interest to who debugs only.
	log.SetOutput(slog.NewLogLogger(l.errors.Handler(), slog.LevelDebug).Writer())
	log.SetFlags(0)
	path := line.String("access-log")
	if path == "-" {
		l.access = l.errors
		return l, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, &failure{err: fmt.Errorf("cannot open the access log: %w", err), hint: "its folder must exist and be writable; --access-log - logs to stderr"}
	}
	l.file, l.lines = file, tunnel.NewLineWriter(&tunnel.LogWriter{
		W:      file,
		Broken: func(err error) { talk(line, "cannot write the access log, lines are lost from here on: %v", err) },
		Mended: func() { talk(line, "the access log %s is written again", path) },
	})
	l.access = slog.New(tunnel.NewLogHandler(l.lines, line.String("log-format"), line.String("log-level")))
	return l, nil
}

// Close writes the last lines and closes the log file.
func (l *logs) Close() error {
	if l.file == nil {
		return nil
	}
	return errors.Join(l.lines.Close(), l.file.Close())
}
