package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel"

	"github.com/urfave/cli/v2"
)

func dialCommand() *cli.Command {
	return &cli.Command{
		Name:      "dial",
		Usage:     "open a tunnel through proxies and be it, on stdin and stdout",
		ArgsUsage: "HOST:PORT | HOST PORT",
		UsageText: "ssh -o 'ProxyCommand culvert dial --proxy http://proxy:3128 -- %h %p' host\n" +
			"ssh -o ProxyUseFdpass=yes -o 'ProxyCommand culvert dial -F -- %h %p' host\n" +
			"culvert dial --proxy http://proxy.corp:3128 -- example.com 22\n" +
			"HTTPS_PROXY=http://proxy.corp:3128 culvert dial -v example.com:443",
		Description: proxyChoice,
		Flags: append(connectionFlags(),
			&cli.StringSliceFlag{Name: "or", Usage: "`ROUTE` to take where the one before cannot be taken, its proxies joined by commas, or direct; again for a further one"},
			&cli.StringFlag{Name: "on-eof", Value: string(tunnel.EOFHalfClose), Usage: "at end of file on stdin: `half-close|wait|close`; wait helps where a proxy drops the answer after a half-close"},
			&cli.BoolFlag{Name: "fdpass", Aliases: []string{"F"}, Usage: "hand the open tunnel's socket over on stdout and exit, for ssh's ProxyUseFdpass yes"},
		),
		Action: dial,
	}
}

// proxyChoice is for the help of dial and probe.
const proxyChoice = `Without --proxy, the first of CULVERT_PROXY, HTTPS_PROXY, https_proxy, ALL_PROXY,
all_proxy that is set names the proxy, unless NO_PROXY (or no_proxy) exempts the
target: a list, by commas, of names (with their subdomains), .names (those
alone), addresses, CIDRs, each with :PORT if for one port only, or *. localhost
and loopback addresses are always exempt. NO_PROXY never concerns --proxy.
--proxy-user takes the password from CULVERT_PROXY_PASSWORD; it and
--proxy-credentials are for the first proxy and win over its URL. Of the schemes
that the proxy offers Digest, NTLM and Basic are tried in this order.`

// connectionFlags are what dial and probe have in common.
func connectionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "proxy", Aliases: []string{"x"}, Usage: "`URL` of a proxy: http://[USER:PASSWORD@]HOST[:PORT], the same without http:// or with https, h2, h2c, socks5h, socks5 (resolves here) or socks4a, unix:PATH, or direct; again for each further hop"},
		&cli.StringFlag{Name: "proxy-user", Usage: "`NAME` for the first proxy; the password comes from CULVERT_PROXY_PASSWORD"},
		&cli.StringFlag{Name: "proxy-credentials", Usage: "`FILE` of one line, user:password, for the first proxy"},
		&cli.StringFlag{Name: "auth", Usage: "show the credentials by `basic|digest|ntlm|bearer` only, instead of the strongest scheme that the proxy offers; for bearer the password is the token"},
		&cli.StringSliceFlag{Name: "header", Aliases: []string{"H"}, Usage: "`'NAME: VALUE'` to send along with CONNECT; 'NAME:' removes one that is sent by default"},
		&cli.StringFlag{Name: "cacert", Usage: "trust https proxies whose certificate leads to one in the PEM `FILE`, and no others"},
		&cli.StringFlag{Name: "cert", Usage: "our certificate for https proxies: a PEM `FILE`, which may hold the key too"},
		&cli.StringFlag{Name: "key", Usage: "its key: a PEM `FILE`"},
		&cli.StringFlag{Name: "proxy-server-name", Usage: "send, and verify, `NAME` instead of the https proxy's host"},
		&cli.StringSliceFlag{Name: "pin", Usage: "want an https proxy's key to be `sha256//BASE64`; again for a further one"},
		&cli.BoolFlag{Name: "insecure", Aliases: []string{"k"}, Usage: "take any certificate of https proxies; with --pin the key decides"},
		&cli.BoolFlag{Name: "tls", Usage: "speak TLS with the target, inside the tunnel"},
		&cli.StringFlag{Name: "tls-server-name", Usage: "with --tls: send, and verify, `NAME` instead of the target's host"},
		&cli.StringFlag{Name: "tls-alpn", Usage: "with --tls: offer `PROTOCOLS`, joined by commas, as h2,http/1.1"},
		&cli.StringFlag{Name: "tls-cacert", Usage: "with --tls: trust targets by the authorities in the PEM `FILE`"},
		&cli.BoolFlag{Name: "tls-insecure", Usage: "with --tls: take any certificate of the target's"},
		&cli.BoolFlag{Name: "ipv4", Aliases: []string{"4"}, Usage: "connect over IPv4 only"},
		&cli.BoolFlag{Name: "ipv6", Aliases: []string{"6"}, Usage: "connect over IPv6 only"},
		&cli.DurationFlag{Name: "connect-timeout", Value: tunnel.DefaultConnectTimeout, Usage: "`TIME` for resolving and connecting to the first hop; 0 is off"},
		&cli.DurationFlag{Name: "timeout", Value: tunnel.DefaultOpenTimeout, Usage: "`TIME` until the tunnel is open; 0 is off; none applies after"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell on stderr what happens"},
		&cli.BoolFlag{Name: "show-secrets", Usage: "do not mask credentials in what is told"},
	}
}

// dial is the verb.
func dial(c *cli.Context) error {
	dieOnSignal()
	target, err := targetOf(c)
	if err != nil {
		return err
	}
	way, err := wayOf(c, target)
	if err != nil {
		return err
	}
	behind := tunnel.FindBehindSocket()
	if behind == nil {
		if way.client.KeepUnread, err = fdpassOf(c); err != nil {
			return err
		}
	}
	if way.client.KeepUnread && !way.client.HandsOver() {
		return handOverRelay()
	}
	v := verbose{c: c, on: c.Bool("verbose"), client: way.client, started: time.Now()}
	v.plan(way, target)
	if v.on {
		way.client.Trace = v.trace()
	}
	conn, err := way.client.Open(behind.Context(), target)
	if err != nil {
		return explained(err)
	}
	v.say("tunnel open after %d ms", time.Since(v.started).Milliseconds())
	if way.client.KeepUnread {
		v.say("handing the socket over")
		return explained(conn.HandOver(os.Stdout))
	}
	stdio := tunnel.Stdio{Conn: conn, In: os.Stdin, Out: os.Stdout, OnEOF: tunnel.OnEOF(c.String("on-eof"))}
	if behind != nil {
		if err := behind.Opened(); err != nil {
			return err
		}
		// Who has the other end has it whole: its end is the session's.
		stdio.In, stdio.Out, stdio.OnEOF = behind.Socket, behind.Socket, tunnel.EOFClose
	}
	result, err := stdio.Relay()
	_ = conn.Close()
	_ = way.client.Close() // with HTTP/2 the last bytes may be on their way
	v.end(result)
	return explained(err)
}

// fdpassOf judges --fdpass before anything is connected. An --on-eof from the
// environment is for other runs: after --fdpass, ssh does the relaying.
func fdpassOf(c *cli.Context) (bool, error) {
	if !c.Bool("fdpass") {
		return false, nil
	}
	if typed := flagSource(c, "on-eof"); strings.HasPrefix(typed, "-") {
		return false, usageErrorf("leave one of them out: with --fdpass ssh does the relaying", "--fdpass and --on-eof exclude each other")
	}
	if err := tunnel.CheckHandOver(os.Stdout); err != nil {
		return false, flagError(c, "fdpass", fmt.Errorf("stdout %w", err), "it is for ssh's ProxyUseFdpass yes; without that leave --fdpass out")
	}
	return true, nil
}

// handOverRelay is --fdpass for a tunnel that is more than a socket: another
// process relays, and has said why if it does not.
func handOverRelay() error {
	code, err := tunnel.HandOverRelay(os.Stdout, os.Stderr)
	if code != 0 {
		return &failure{code: code}
	}
	return explained(err)
}

// explained is a failure of package tunnel, in its words for a person; nil is
// none.
func explained(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tunnel.ErrOutputClosed):
		return stdoutError(syscall.EPIPE)
	}
	sentence, hint := tunnel.Explain(err)
	return &failure{err: errors.New(sentence), hint: hint, code: tunnel.ExitCode(err)}
}

// targetOf reads the arguments, HOST:PORT or HOST PORT.
func targetOf(c *cli.Context) (target tunnel.Authority, err error) {
	const forms = "give HOST:PORT, or HOST PORT; IPv6 as [::1]:22, or ::1 22"
	switch args := c.Args().Slice(); len(args) {
	case 0:
		return target, usageErrorf(forms, "no target given")
	case 1:
		target, err = tunnel.ParseTarget(args[0])
	case 2:
		target, err = tunnel.ParseHostPort(args[0], args[1])
	default:
		return target, usageErrorf(forms, "more than a target given: %q", args[2])
	}
	if err != nil {
		return target, usageErrorf(forms, "target %w", err)
	}
	return target, nil
}

// way is a client set up by the flags and the environment, and what there is
// to say about how it came about.
type way struct {
	client *tunnel.Client
	why    string   // how the route was chosen, a clause
	notes  []string // for -v
}

func wayOf(c *cli.Context, target tunnel.Authority) (*way, error) {
	w := &way{client: &tunnel.Client{UserAgent: "culvert/" + version()}}
	if err := w.route(c, target); err != nil {
		return nil, err
	}
	if err := w.credentials(c); err != nil {
		return nil, err
	}
	for _, s := range c.StringSlice("or") {
		r, err := tunnel.ParseRoute(s)
		if err != nil {
			return nil, flagError(c, "or", err, "a route is proxies joined by commas, as http://HOST:PORT, or direct")
		}
		r.Source = flagSource(c, "or")
		w.noteTyped(r)
		w.client.Or = append(w.client.Or, r)
	}
	if err := w.tls(c); err != nil {
		return nil, err
	}
	w.client.Auth = strings.ToLower(c.String("auth"))
	if err := tunnel.CheckAuth(w.client.Auth); err != nil {
		return nil, flagError(c, "auth", err, "leave it out to use the strongest that the proxy offers")
	}
	for _, s := range c.StringSlice("header") {
		f, err := tunnel.ParseHeader(s)
		if err != nil {
			return nil, flagError(c, "header", err, "write --header 'Name: value'")
		}
		w.client.Header = append(w.client.Header, f)
	}
	switch {
	case c.Bool("ipv4") && c.Bool("ipv6"):
		return nil, usageErrorf("leave both out to use what there is", "--ipv4 and --ipv6 exclude each other")
	case c.Bool("ipv4"):
		w.client.Network = "tcp4"
	case c.Bool("ipv6"):
		w.client.Network = "tcp6"
	}
	var err error
	if w.client.ConnectTimeout, err = timeoutOf(c, "connect-timeout"); err != nil {
		return nil, err
	}
	w.client.Timeout, err = timeoutOf(c, "timeout")
	return w, err
}

func (w *way) route(c *cli.Context, target tunnel.Authority) (err error) {
	urls := c.StringSlice("proxy")
	if len(urls) == 0 {
		w.client.Route, w.why, err = tunnel.RouteFromEnvironment(target, os.Getenv)
		if err != nil {
			return usageErrorf("correct it, or overrule it with --proxy URL or --proxy direct", "%w", err)
		}
		return nil
	}
	source := flagSource(c, "proxy")
	if w.client.Route, err = tunnel.ParseHops(urls); err != nil {
		return flagError(c, "proxy", err, "a proxy is http://HOST:PORT, https://HOST:PORT, socks5h://HOST:PORT, unix:PATH, or direct")
	}
	w.client.Route.Source, w.why = source, "from "+source
	w.noteTyped(w.client.Route)
	return nil
}

// noteTyped notes a password in the arguments.
func (w *way) noteTyped(r tunnel.Route) {
	for _, h := range r.Hops {
		if strings.HasPrefix(r.Source, "-") && h.Credentials != nil && h.Credentials.Password != "" {
			w.notes = append(w.notes, "the password in "+r.Source+" is visible in the process list: use CULVERT_PROXY_PASSWORD or --proxy-credentials")
		}
	}
}

// credentials fills in those of the first hop.
func (w *way) credentials(c *cli.Context) error {
	user, file := c.String("proxy-user"), c.String("proxy-credentials")
	password, set := os.LookupEnv("CULVERT_PROXY_PASSWORD")
	hops := w.client.Route.Hops
	var credentials tunnel.Credentials
	switch {
	case user != "" && file != "":
		return usageErrorf("leave one of them out", "--proxy-user and --proxy-credentials exclude each other")
	case user != "" && !set:
		return usageErrorf("put it there, or user:password into a file for --proxy-credentials", "--proxy-user needs the password in CULVERT_PROXY_PASSWORD")
	case user != "":
		credentials = tunnel.Credentials{User: user, Password: password, Source: flagSource(c, "proxy-user") + " and CULVERT_PROXY_PASSWORD"}
		if err := credentials.Check(); err != nil {
			return flagError(c, "proxy-user", err, "give the name alone; the password comes from CULVERT_PROXY_PASSWORD")
		}
	case file != "":
		read, exposed, err := tunnel.ReadCredentials(file)
		if err != nil {
			return flagError(c, "proxy-credentials", err, "the file holds one line, user:password")
		}
		if exposed {
			return flagError(c, "proxy-credentials", fmt.Errorf("others can read %s", file), "keep the password to yourself: chmod 600 "+file)
		}
		credentials, credentials.Source = read, file
	case set && len(hops) > 0 && hops[0].Credentials != nil && hops[0].Credentials.Password == "":
		credentials = tunnel.Credentials{User: hops[0].Credentials.User, Password: password, Source: w.client.Route.Source + " and CULVERT_PROXY_PASSWORD"}
		if err := credentials.Check(); err != nil {
			return usageErrorf("correct CULVERT_PROXY_PASSWORD", "%w", err)
		}
	default:
		return nil
	}
	if len(hops) == 0 {
		w.notes = append(w.notes, "the proxy's credentials are not used: the way is direct")
		return nil
	}
	hops[0].Credentials = &credentials
	return nil
}

// tls reads how TLS is spoken with proxies and, inside the tunnel, with the
// target.
func (w *way) tls(c *cli.Context) error {
	const forms = "they are PEM files; a pin is sha256// and 32 bytes in base64, as culvert serve and probe print it"
	proxy := tunnel.ClientTLSFiles{Roots: c.String("cacert"), Cert: c.String("cert"), Key: c.String("key"),
		ServerName: c.String("proxy-server-name"), Insecure: c.Bool("insecure"), Pins: c.StringSlice("pin")}
	if !proxy.IsZero() {
		options, notes, err := proxy.Options()
		if err != nil {
			return usageErrorf(forms, "TLS to proxies: %w", err)
		}
		used, err := w.client.Route.UseTLS(options)
		for i := range w.client.Or {
			u, failed := w.client.Or[i].UseTLS(options)
			used, err = used || u, cmp.Or(err, failed)
		}
		switch {
		case err != nil:
			return usageErrorf("leave --proxy-server-name out", "%w", err)
		case !used:
			notes = append(notes, "no proxy on the way speaks TLS: what is said of certificates is not used")
		}
		w.notes = append(w.notes, notes...)
	}
	target := tunnel.ClientTLSFiles{Roots: c.String("tls-cacert"), ServerName: c.String("tls-server-name"), Insecure: c.Bool("tls-insecure")}
	alpn := c.String("tls-alpn")
	if !c.Bool("tls") {
		if !target.IsZero() || alpn != "" {
			return usageErrorf("say --tls as well", "--tls-server-name, --tls-alpn, --tls-cacert and --tls-insecure are for --tls")
		}
		return nil
	}
	options, _, err := target.Options()
	if err != nil {
		return flagError(c, "tls-cacert", err, forms)
	}
	if alpn != "" {
		options.Protocols = strings.Split(alpn, ",")
	}
	w.client.TLS = options
	return nil
}
