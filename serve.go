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

	"github.com/urfave/cli/v2"
)

func serveCommand() *cli.Command {
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
		Flags: serveFlags(), Action: serve,
	}
}

func serveFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "listen", KeepSpace: true, DefaultText: tunnel.DefaultListen, Usage: "accept clients on `URL`: http://HOST:PORT, https://HOST:PORT, HOST:PORT or unix:PATH"},
		&cli.StringFlag{Name: "tls-cert", Usage: "certificate, and its chain, of https listeners: a PEM `FILE`, read anew when it changes"},
		&cli.StringFlag{Name: "tls-key", Usage: "the certificate's key: a PEM `FILE`"},
		&cli.BoolFlag{Name: "tls-self-signed", Usage: "make a certificate in memory instead, to try things out, and print its pin"},
		&cli.StringSliceFlag{Name: "acme", KeepSpace: true, Usage: "get a certificate for `HOST`, whose port 443 leads here, from an ACME authority, and accept its terms"},
		&cli.StringFlag{Name: "acme-dir", DefaultText: "culvert-acme in your cache folder", Usage: "with --acme: keep certificates in `DIR`"},
		&cli.StringFlag{Name: "acme-url", Usage: "with --acme: `URL` of the authority's directory, if not Let's Encrypt's"},
		&cli.StringFlag{Name: "acme-ca", Usage: "with --acme: PEM `FILE` of authorities to trust for that URL"},
		&cli.StringFlag{Name: "tls-client-ca", Usage: "a client certificate from the authorities in this PEM `FILE` makes a user"},
		&cli.StringSliceFlag{Name: "allow", KeepSpace: true, DefaultText: "*:22,80,443", Usage: "allow targets that match `PATTERN`"},
		&cli.StringSliceFlag{Name: "deny", KeepSpace: true, Usage: "deny targets that match `PATTERN`"},
		&cli.StringSliceFlag{Name: "allow-addr", KeepSpace: true, Usage: "allow targets that lead to `WHERE`, a CIDR or a class"},
		&cli.StringSliceFlag{Name: "deny-addr", KeepSpace: true, Usage: "deny targets that lead to `WHERE`, a CIDR or a class"},
		&cli.StringSliceFlag{Name: "allow-client", KeepSpace: true, Usage: "serve only clients from `CIDR`"},
		&cli.StringFlag{Name: "users", Usage: "want a user name and password that are in the htpasswd `FILE`"},
		&cli.StringFlag{Name: "realm", Value: "culvert", Usage: "name of what the password is for"},
		&cli.BoolFlag{Name: "open", Usage: "serve anyone who reaches a listener: an open proxy, on purpose"},
		&cli.StringSliceFlag{Name: "via", KeepSpace: true, Usage: "reach targets through another proxy by `RULE`: ROUTE, or PATTERN=ROUTE; first match wins"},
		&cli.BoolFlag{Name: "via-resolve", Usage: "resolve names behind --via here, judge the addresses, and ask the proxy for these"},
		&cli.DurationFlag{Name: "header-timeout", Value: tunnel.DefaultHeaderTimeout, Usage: "`TIME` for a request's head to arrive"},
		&cli.DurationFlag{Name: "connect-timeout", Value: tunnel.DefaultConnectTimeout, Usage: "`TIME` to resolve and connect"},
		&cli.DurationFlag{Name: "idle-timeout", DefaultText: "off", Usage: "end tunnels, and plain requests, that are silent both ways for `TIME`"},
		&cli.DurationFlag{Name: "linger", Value: tunnel.DefaultLinger, Usage: "end a tunnel's second half after `TIME` without progress"},
		&cli.IntFlag{Name: "max-tunnels", DefaultText: "what the descriptor limit carries", Usage: "open at most `N` tunnels at once"},
		&cli.IntFlag{Name: "max-tunnels-per-client", DefaultText: "off", Usage: "and at most `N` for one client address"},
		&cli.DurationFlag{Name: "drain-timeout", Value: 30 * time.Second, Usage: "after SIGTERM, `TIME` for open tunnels to end"},
		&cli.StringFlag{Name: "name", DefaultText: "culvert- and random digits", Usage: "this proxy's `NAME` in Via and Proxy-Status"},
		&cli.StringFlag{Name: "access-log", Value: "-", Usage: "append the access log to `FILE`; - is stderr"},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "log as `text|json`"},
		&cli.StringFlag{Name: "log-level", Value: "info", Usage: "log from this level on: `debug|info|warn|error`"},
	}
}

// serve runs the proxy until a signal or a failure.
func serve(c *cli.Context) error {
	if c.NArg() > 0 {
		return usageErrorf("culvert serve --help tells the flags", "unexpected argument %q", c.Args().First())
	}
	server, err := newServer(c)
	if err != nil {
		return err
	}
	specs, err := listenSpecs(c)
	if err != nil {
		return err
	}
	logs, err := openLogs(c)
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
	secure, notes, err := readTLS(c, specs, server.ErrorLog)
	if err != nil {
		return err
	}
	listeners, err := bind(c, server, specs, secure)
	if err != nil {
		return err
	}
	return run(c, server, listeners, notes, signals)
}

// run serves all listeners and, at a signal, drains.
func run(c *cli.Context, server *tunnel.Server, listeners []net.Listener, notes []string, signals <-chan os.Signal) error {
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	announce(c, server, listeners)
	for _, note := range notes {
		talk(c, "%s", note)
	}
	select {
	case err := <-failed:
		server.Close()
		return fmt.Errorf("a listener failed: %w", err)
	case <-signals:
	}
	ctx, cancel, limit := c.Context, context.CancelFunc(func() {}), "without limit"
	if timeout := c.Duration("drain-timeout"); timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
		limit = "at most " + timeout.String()
	}
	defer cancel()
	if n := server.Open(); n > 0 {
		talk(c, "draining: waiting %s for tunnels to end, of which %d are open; a second signal ends them at once", limit, n)
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
func announce(c *cli.Context, server *tunnel.Server, listeners []net.Listener) {
	var summaries []string
	urls := map[string][]string{}
	for _, l := range listeners {
		summary := strings.Join(server.Summary(l), "\n") // settles the limits, before anybody reads that we listen
		talk(c, "listening on %s", tunnel.ListenerURL(l))
		if urls[summary] == nil {
			summaries = append(summaries, summary)
		}
		urls[summary] = append(urls[summary], tunnel.ListenerURL(l))
	}
	for _, summary := range summaries {
		if len(summaries) > 1 {
			talk(c, "on %s:", strings.Join(urls[summary], ", "))
		}
		for _, line := range strings.Split(summary, "\n") {
			talk(c, "%s", line)
		}
	}
}

func listenSpecs(c *cli.Context) ([]tunnel.ListenSpec, error) {
	urls := c.StringSlice("listen")
	if len(urls) == 0 {
		urls = []string{tunnel.DefaultListen}
	}
	specs := make([]tunnel.ListenSpec, len(urls))
	for i, url := range urls {
		var err error
		if specs[i], err = tunnel.ParseListen(url); err != nil {
			return nil, flagError(c, "listen", fmt.Errorf("%q: %w", url, err), "as in --listen 127.0.0.1:3128, --listen '[::1]:3128' or --listen unix:/run/culvert.sock")
		}
	}
	return specs, nil
}

// readTLS reads what https listeners need, and what a person should know of it;
// nil if there is no such listener.
func readTLS(c *cli.Context, specs []tunnel.ListenSpec, errorLog *slog.Logger) (*tls.Config, []string, error) {
	o := tunnel.ServerTLS{
		CertFile: c.String("tls-cert"), KeyFile: c.String("tls-key"), SelfSigned: c.Bool("tls-self-signed"),
		ClientCAFile: c.String("tls-client-ca"), Log: errorLog,
		ACME: tunnel.ACME{Hosts: c.StringSlice("acme"), Dir: c.String("acme-dir"), URL: c.String("acme-url"), RootsFile: c.String("acme-ca")},
	}
	for _, spec := range specs {
		if spec.TLS {
			o.Hosts = append(o.Hosts, spec.Host())
		}
	}
	if hint, err := o.Check(len(o.Hosts) > 0); err != nil {
		return nil, nil, usageErrorf(hint, "%v", err)
	}
	config, notes, err := o.Config()
	if err != nil {
		return nil, nil, &failure{err: fmt.Errorf("cannot set TLS up: %w", err), hint: "certificates, keys and authorities are in PEM files, as openssl and certbot write them; --acme-dir is a folder of serve's own"}
	}
	return config, notes, nil
}

// bind binds every listener before any of them accepts, and refuses those
// that would be an open proxy by accident.
func bind(c *cli.Context, server *tunnel.Server, specs []tunnel.ListenSpec, secure *tls.Config) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	for _, spec := range specs {
		l, err := spec.Listen(c.Context)
		if err != nil {
			return listeners, &failure{err: err, hint: tunnel.ListenHint(err)}
		}
		if spec.TLS {
			l = tunnel.NewTLSListener(l, secure)
		}
		listeners = append(listeners, l)
		if err := server.CheckExposure(l); err != nil && !c.Bool("open") {
			return listeners, usageErrorf("want passwords with --users FILE, or client certificates with --tls-client-ca FILE, or name the clients with --allow-client CIDR, or listen on 127.0.0.1; --open says that it is meant", "%v", err)
		}
	}
	return listeners, nil
}

// newServer makes the Server that the flags describe.
func newServer(c *cli.Context) (*tunnel.Server, error) {
	s := &tunnel.Server{
		ViaResolve: c.Bool("via-resolve"), Name: c.String("name"), Realm: c.String("realm"), MaxTunnelsPerClient: c.Int("max-tunnels-per-client"),
		HeaderTimeout: zeroIsOff(c.Duration("header-timeout")), ConnectTimeout: zeroIsOff(c.Duration("connect-timeout")),
		IdleTimeout: c.Duration("idle-timeout"), Linger: zeroIsOff(c.Duration("linger")),
	}
	if c.IsSet("max-tunnels") {
		if s.MaxTunnels = c.Int("max-tunnels"); s.MaxTunnels == 0 {
			s.MaxTunnels = -1
		}
	}
	if s.Name != "" {
		if err := tunnel.CheckName(s.Name); err != nil {
			return nil, flagError(c, "name", err, "as in --name proxy.example.com")
		}
	}
	for _, name := range []string{"header-timeout", "connect-timeout", "idle-timeout", "linger", "drain-timeout"} {
		if c.Duration(name) < 0 {
			return nil, flagError(c, name, errors.New("a duration cannot be negative"), "0 turns the limit off")
		}
	}
	for _, name := range []string{"max-tunnels", "max-tunnels-per-client"} {
		if c.Int(name) < 0 {
			return nil, flagError(c, name, errors.New("a number of tunnels cannot be negative"), "0 turns the limit off")
		}
	}
	if file := c.String("users"); file != "" {
		users, err := tunnel.LoadUsers(file)
		if err != nil {
			return nil, flagError(c, "users", err, "make the file with: htpasswd -B -c FILE NAME")
		}
		s.Verifier = users
	}
	return s, readRules(c, s)
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
func readRules(c *cli.Context, s *tunnel.Server) (err error) {
	const patterns = "HOST[:PORTS], as in '*.example.com:22,443'; culvert serve --help tells the forms"
	const addresses = "a CIDR as 10.0.0.0/8, an address, or public, private, loopback, link-local, metadata, special"
	if s.Policy.Allow, err = each(c, "allow", patterns, tunnel.ParsePattern); err != nil {
		return err
	}
	if s.Policy.Deny, err = each(c, "deny", patterns, tunnel.ParsePattern); err != nil {
		return err
	}
	if s.Policy.AllowAddr, err = each(c, "allow-addr", addresses, tunnel.ParseAddrRule); err != nil {
		return err
	}
	if s.Policy.DenyAddr, err = each(c, "deny-addr", addresses, tunnel.ParseAddrRule); err != nil {
		return err
	}
	if s.AllowClient, err = each(c, "allow-client", "a CIDR as 10.0.0.0/8, or an address", tunnel.ParseNetwork); err != nil {
		return err
	}
	s.Via, err = each(c, "via", "http://HOST:PORT, or PATTERN=http://HOST:PORT", tunnel.ParseViaRule)
	return err
}

// each parses all values of a repeatable flag; nil if there are none.
func each[T any](c *cli.Context, name, hint string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, value := range c.StringSlice(name) {
		v, err := parse(value)
		if err != nil {
			return nil, flagError(c, name, err, hint)
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
func openLogs(c *cli.Context) (*logs, error) {
	l := &logs{errors: slog.New(tunnel.NewLogHandler(os.Stderr, c.String("log-format"), c.String("log-level")))}
	// What net/http has to say of origins is of interest to who debugs only.
	log.SetOutput(slog.NewLogLogger(l.errors.Handler(), slog.LevelDebug).Writer())
	log.SetFlags(0)
	path := c.String("access-log")
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
		Broken: func(err error) { talk(c, "cannot write the access log, lines are lost from here on: %v", err) },
		Mended: func() { talk(c, "the access log %s is written again", path) },
	})
	l.access = slog.New(tunnel.NewLogHandler(l.lines, c.String("log-format"), c.String("log-level")))
	return l, nil
}

// Close writes the last lines and closes the log file.
func (l *logs) Close() error {
	if l.file == nil {
		return nil
	}
	return errors.Join(l.lines.Close(), l.file.Close())
}
