package cliway

import (
	"cmp"
	"errors"
	"os"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cliargs"

	"github.com/urfave/cli/v2"
)

// Way is a Client set up by the flags and the environment, and what there is
// to say about how it came about.
type Way struct {
	Client *tunnel.Client
	Why    string   // how the route was chosen, a clause
	Notes  []string // for -v

	*cli.Context
	settings []cliargs.Setting
}

// Of reads the flags that c has. settings are the same, and know who set them.
// An error is a *cliargs.Error. The caller sets Client.UserAgent.
func Of(c *cli.Context, settings []cliargs.Setting, target tunnel.Authority) (*Way, error) {
	w := &Way{Client: &tunnel.Client{}, Context: c, settings: settings}
	if err := w.route(target); err != nil {
		return nil, err
	}
	if err := w.credentials(); err != nil {
		return nil, err
	}
	for _, s := range w.StringSlice("or") {
		r, err := tunnel.ParseRoute(s)
		if err != nil {
			return nil, w.flagError("or", err, "a route is proxies joined by commas, as http://HOST:PORT, or direct")
		}
		r.Source = w.source("or")
		w.noteTyped(r)
		w.Client.Or = append(w.Client.Or, r)
	}
	if err := w.tls(); err != nil {
		return nil, err
	}
	w.Client.Auth = strings.ToLower(w.String("auth"))
	if err := tunnel.CheckAuth(w.Client.Auth); err != nil {
		return nil, w.flagError("auth", err, "leave it out to use the strongest that the proxy offers")
	}
	for _, s := range w.StringSlice("header") {
		f, err := tunnel.ParseHeader(s)
		if err != nil {
			return nil, w.flagError("header", err, "write --header 'Name: value'")
		}
		w.Client.Header = append(w.Client.Header, f)
	}
	switch {
	case w.Bool("ipv4") && w.Bool("ipv6"):
		return nil, cliargs.Usagef("leave both out to use what there is", "--ipv4 and --ipv6 exclude each other")
	case w.Bool("ipv4"):
		w.Client.Network = "tcp4"
	case w.Bool("ipv6"):
		w.Client.Network = "tcp6"
	}
	var err error
	if w.Client.ConnectTimeout, err = w.Timeout("connect-timeout"); err != nil {
		return nil, err
	}
	w.Client.Timeout, err = w.Timeout("timeout")
	return w, err
}

func (w *Way) route(target tunnel.Authority) (err error) {
	urls := w.StringSlice("proxy")
	if len(urls) == 0 {
		w.Client.Route, w.Why, err = tunnel.RouteFromEnvironment(target, os.Getenv)
		if err != nil {
			return cliargs.Usagef("correct it, or overrule it with --proxy URL or --proxy direct", "%v", err)
		}
		return nil
	}
	source := w.source("proxy")
	if w.Client.Route, err = tunnel.ParseHops(urls); err != nil {
		return w.flagError("proxy", err, "a proxy is http://HOST:PORT, https://HOST:PORT, socks5h://HOST:PORT, unix:PATH, or direct")
	}
	w.Client.Route.Source, w.Why = source, "from "+source
	w.noteTyped(w.Client.Route)
	return nil
}

// noteTyped notes a password in the arguments.
func (w *Way) noteTyped(r tunnel.Route) {
	for _, h := range r.Hops {
		if strings.HasPrefix(r.Source, "-") && h.Credentials != nil && h.Credentials.Password != "" {
			w.Notes = append(w.Notes, "the password in "+r.Source+" is visible in the process list: use CULVERT_PROXY_PASSWORD or --proxy-credentials")
		}
	}
}

// flagError is a usage error in the value of a flag. It names the variable
// where the value came from the environment.
func (w *Way) flagError(name string, err error, hint string) error {
	return cliargs.Usagef(hint, "%s: %v", cmp.Or(w.source(name), "--"+name), err)
}

// source tells who set a flag last, "" if nobody did.
func (w *Way) source(name string) string { return cliargs.Find(w.settings, name).Source }

// Timeout reads a flag, and translates the command line's 0 for off into the library's -1.
func (w *Way) Timeout(name string) (time.Duration, error) {
	switch d := w.Duration(name); {
	case d < 0:
		return 0, w.flagError(name, errors.New("a duration cannot be negative"), "0 is off")
	case d == 0:
		return -1, nil
	default:
		return d, nil
	}
}
