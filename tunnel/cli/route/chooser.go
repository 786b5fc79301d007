package route

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/kerberos"
	"culvert/tunnel/pac"
)

// Chooser makes the way to a target that the flags and the environment name.
// Errors are *args.Error.
type Chooser struct {
	// Made is called for each Way, once, before anybody uses it; nil = not. It
	// must not use the Chooser.
	Made func(*Way)

	ctx       context.Context // of scripts and their loading
	flags     *args.Values
	userAgent string
	mu        sync.Mutex
	made      map[string]*Way // by what was chosen
	asked     map[string]*tunnel.Credentials
	loading   sync.Mutex
	loaded    *pac.Script // nil = not yet
	tickets   *kerberos.Source
}

// NewChooser reads flags. The context is for reading a script, and asking it.
func NewChooser(ctx context.Context, flags *args.Values, userAgent string) *Chooser {
	return &Chooser{ctx: ctx, flags: flags, userAgent: userAgent, made: make(map[string]*Way), asked: make(map[string]*tunnel.Credentials),
		tickets: &kerberos.Source{Keytab: flags.String("keytab"), Principal: flags.String("principal")}}
}

// Way is a Client set up by the flags and the environment, and what there is
// to say about how it came about.
type Way struct {
	Client *tunnel.Client
	Why    string   // how the route was chosen, a clause
	Notes  []string // for -v

	flags   *args.Values
	chooser *Chooser
}

// To returns the way to a target. Targets of the same route share a Way. A
// person may be asked for a password on the way, once.
func (ch *Chooser) To(target tunnel.Authority) (*Way, error) {
	w := &Way{Client: &tunnel.Client{UserAgent: ch.userAgent}, flags: ch.flags, chooser: ch}
	if err := w.route(target); err != nil {
		return nil, err
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	key := w.Client.Route.String()
	for _, r := range w.Client.Or {
		key += "|" + r.String()
	}
	if made, ok := ch.made[key]; ok {
		return made, nil
	}
	for _, step := range []func() error{w.credentials, w.alternatives, w.netrc, w.tls, w.auth, w.headers, w.limits} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if ch.Made != nil {
		ch.Made(w)
	}
	ch.made[key] = w
	return w, nil
}

// alternatives reads --or.
func (w *Way) alternatives() error {
	if !w.flags.Has("or") { // probe is about one proxy
		return nil
	}
	for _, s := range w.flags.Strings("or") {
		r, err := tunnel.ParseRoute(s)
		if err != nil {
			return w.flags.Mistake("or", err, "a route is proxies joined by commas, as http://HOST:PORT, or direct")
		}
		r.Source = w.flags.Source("or")
		w.noteTyped(r)
		w.Client.Or = append(w.Client.Or, r)
	}
	return nil
}

func (w *Way) auth() error {
	w.Client.Negotiate = w.chooser.tickets.Negotiator
	w.Client.Auth = strings.ToLower(w.flags.String("auth"))
	if err := tunnel.CheckAuth(w.Client.Auth); err != nil {
		return w.flags.Mistake("auth", err, "leave it out to use the strongest that the proxy offers")
	}
	return nil
}

func (w *Way) headers() error {
	for _, s := range w.flags.Strings("header") {
		f, err := tunnel.ParseHeader(s)
		if err != nil {
			return w.flags.Mistake("header", err, "write --header 'Name: value'")
		}
		w.Client.Header = append(w.Client.Header, f)
	}
	return nil
}

// limits reads the IP version and the timeouts.
func (w *Way) limits() (err error) {
	switch {
	case w.flags.Bool("ipv4") && w.flags.Bool("ipv6"):
		return args.Usagef("leave both out to use what there is", "--ipv4 and --ipv6 exclude each other")
	case w.flags.Bool("ipv4"):
		w.Client.Network = "tcp4"
	case w.flags.Bool("ipv6"):
		w.Client.Network = "tcp6"
	}
	if w.Client.ConnectTimeout, err = w.flags.Timeout("connect-timeout"); err != nil {
		return err
	}
	w.Client.Timeout, err = w.flags.Timeout("timeout")
	return err
}

// routeSources are the flags of which one may name the proxies.
var routeSources = args.Names{"proxy", "pac", "wpad"}

// route chooses the way: by flags, by a script, or by the environment.
func (w *Way) route(target tunnel.Authority) (err error) {
	var chosen string
	for _, name := range routeSources {
		// An empty name of a script is a mistake, and not the same as none.
		given := w.flags.IsGiven(name) || w.flags.IsSet(name) && w.flags.Last(name).Value == ""
		switch typed := w.flags.IsTyped(name); {
		case !given:
		case chosen == "" || typed && !w.flags.IsTyped(chosen):
			chosen = name
		case typed:
			return args.Usagef("leave one of them out", "--%s and --%s exclude each other", chosen, name)
		}
	}
	switch chosen {
	case "proxy":
		return w.proxies()
	case "pac", "wpad":
		return w.script(chosen, target)
	}
	w.Client.Route, w.Why, err = tunnel.RouteFromEnvironment(target, os.Getenv)
	if err != nil {
		return args.Usagef("correct it, or overrule it with --proxy URL or --proxy direct", "%v", err)
	}
	return nil
}

// proxies reads --proxy.
func (w *Way) proxies() (err error) {
	if w.Client.Route, err = tunnel.ParseHops(w.flags.Strings("proxy")); err != nil {
		return w.flags.Mistake("proxy", err, "a proxy is http://HOST:PORT, https://HOST:PORT, socks5h://HOST:PORT, unix:PATH, or direct")
	}
	source := w.flags.Source("proxy")
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

// Explanation is the way in words, a line for each thing there is to say.
func (w *Way) Explanation(target tunnel.Authority) string {
	var b strings.Builder
	line := func(what, text string) { fmt.Fprintf(&b, "%-7s %s\n", what, args.Printable(text)) }
	line("target", target.String())
	line("way", w.Client.Route.String())
	for _, r := range w.Client.Or {
		line("or", r.String())
	}
	line("why", w.Why)
	for _, note := range w.Notes {
		line("note", note)
	}
	return b.String()
}
