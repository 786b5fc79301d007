package route

import (
	"context"
	"os"
	"strings"
	"sync"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/client"
	"culvert/tunnel/kerberos"
	"culvert/tunnel/pac"
)

// Chooser chooses the route to each target, by the flags and the environment. It may be
// used by several goroutines at once.
type Chooser struct {
	// Made is called once for each new Plan, before the Plan is returned; nil = not
	// called. It must not use the Chooser.
	Made func(*Plan)

	// Known are the credentials of all hops, as Plan.Known returns them: the user is not
	// asked and no file is read; nil = the flags and the environment say.
	Known []*tunnel.Credentials

	ctx       context.Context // for loading a script and asking it
	flags     *args.Values
	userAgent string
	mu        sync.Mutex
	made      map[string]*Plan               // by route and alternatives
	asked     map[string]*tunnel.Credentials // by "person" or "command", and the proxy
	loading   sync.Mutex
	loaded    *pac.Script // nil = not loaded yet
	tickets   *kerberos.Source
}

// NewChooser returns a Chooser for the flags. The context is for loading a proxy
// auto-config script and for each question to it. userAgent is sent to proxies.
func NewChooser(ctx context.Context, flags *args.Values, userAgent string) *Chooser {
	return &Chooser{
		ctx:       ctx,
		flags:     flags,
		userAgent: userAgent,
		made:      make(map[string]*Plan),
		asked:     make(map[string]*tunnel.Credentials),
		tickets:   &kerberos.Source{Keytab: flags.String("keytab"), Principal: flags.String("principal")},
	}
}

// Plan says how to reach a target: with a Client set up by the flags and the
// environment, and why by its route.
type Plan struct {
	Client *client.Client
	Why    string   // why the route was chosen: a clause
	Notes  []string // further remarks for -v and --why

	flags   *args.Values
	chooser *Chooser
}

// Plan returns the Plan for a target. Targets with the same route share one. It may ask
// a person for a password, once for each proxy. A zero target stands for targets that
// are not known yet. A mistake in the flags is an *args.Error.
func (ch *Chooser) Plan(target tunnel.Authority) (*Plan, error) {
	p := &Plan{Client: &client.Client{UserAgent: ch.userAgent}, flags: ch.flags, chooser: ch}
	if err := p.route(target); err != nil {
		return nil, err
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	key := p.Client.Route.String()
	for _, r := range p.Client.Or {
		key += "|" + r.String()
	}
	if made, ok := ch.made[key]; ok {
		return made, nil
	}
	steps := []func() error{p.credentials, p.alternatives, p.netrc, p.tls, p.auth, p.headers, p.limits}
	if ch.Known != nil {
		steps = append([]func() error{p.alternatives, p.setKnown}, steps[3:]...)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if ch.Made != nil {
		ch.Made(p)
	}
	ch.made[key] = p
	return p, nil
}

// alternatives reads --or.
func (p *Plan) alternatives() error {
	if !p.flags.Has("or") { // probe has no --or: it is about one proxy
		return nil
	}
	for _, s := range p.flags.Strings("or") {
		r, err := tunnel.ParseRoute(s)
		if err != nil {
			return p.flags.Mistake("or", err, "a route is proxies joined by commas, as http://HOST:PORT, or direct")
		}
		r.Source = p.flags.Source("or")
		p.noteTyped(r)
		p.Client.Or = append(p.Client.Or, r)
	}
	return nil
}

// auth reads --auth, the authentication scheme that the Client may use.
func (p *Plan) auth() error {
	p.Client.Negotiate = p.chooser.tickets.Negotiator
	p.Client.Auth = strings.ToLower(p.flags.String("auth"))
	if err := client.CheckAuth(p.Client.Auth); err != nil {
		return p.flags.Mistake("auth", err, "leave it out to use the strongest that the proxy offers")
	}
	if p.Client.Auth == client.AuthNTLMv1 {
		p.Notes = append(p.Notes, "NTLM version 1 can be broken by who records it: use it only where the proxy knows nothing newer")
	}
	return nil
}

// headers reads --header.
func (p *Plan) headers() error {
	for _, s := range p.flags.Strings("header") {
		f, err := client.ParseHeader(s)
		if err != nil {
			return p.flags.Mistake("header", err, "write --header 'Name: value'")
		}
		p.Client.Header = append(p.Client.Header, f)
	}
	return nil
}

// limits reads the IP version and the timeouts of the Client.
func (p *Plan) limits() (err error) {
	switch {
	case p.flags.Bool("ipv4") && p.flags.Bool("ipv6"):
		return args.Usagef("leave both out to use what there is", "--ipv4 and --ipv6 exclude each other")
	case p.flags.Bool("ipv4"):
		p.Client.Network = "tcp4"
	case p.flags.Bool("ipv6"):
		p.Client.Network = "tcp6"
	}
	if p.Client.ConnectTimeout, err = p.flags.Timeout("connect-timeout"); err != nil {
		return err
	}
	p.Client.Timeout, err = p.flags.Timeout("timeout")
	return err
}

// routeSources are the flags that name the proxies; they exclude each other.
var routeSources = args.Names{"proxy", "pac", "wpad"}

// route chooses the route by --proxy, by a script, or by the environment. A flag that
// is typed wins over one from the environment.
func (p *Plan) route(target tunnel.Authority) (err error) {
	var chosen string
	for _, name := range routeSources {
		// An empty name of a script is a mistake; it does not mean that there is none.
		given := p.flags.IsGiven(name) || p.flags.IsSet(name) && p.flags.Last(name).Value == ""
		switch typed := p.flags.IsTyped(name); {
		case !given:
		case chosen == "" || typed && !p.flags.IsTyped(chosen):
			chosen = name
		case typed:
			return args.Usagef("leave one of them out", "--%s and --%s exclude each other", chosen, name)
		}
	}
	switch chosen {
	case "proxy":
		return p.proxies()
	case "pac", "wpad":
		return p.script(chosen, target)
	}
	p.Client.Route, p.Why, err = tunnel.RouteFromEnvironment(target, os.Getenv)
	if err != nil {
		return args.Usagef("correct it, or overrule it with --proxy URL or --proxy direct", "%v", err)
	}
	return nil
}

// proxies reads --proxy.
func (p *Plan) proxies() (err error) {
	if p.Client.Route, err = tunnel.ParseHops(p.flags.Strings("proxy")); err != nil {
		return p.flags.Mistake("proxy", err, "a proxy is http://HOST:PORT, https://HOST:PORT, socks5h://HOST:PORT, unix:PATH, or direct")
	}
	source := p.flags.Source("proxy")
	p.Client.Route.Source, p.Why = source, "from "+source
	p.noteTyped(p.Client.Route)
	return nil
}

// noteTyped adds a note if a password stands on the command line.
func (p *Plan) noteTyped(r tunnel.Route) {
	for _, h := range r.Hops {
		if c := h.Credentials; strings.HasPrefix(r.Source, "-") && c != nil && c.Password != "" && c.Source == "" {
			p.Notes = append(p.Notes, "the password in "+r.Source+" is visible in the process list: use CULVERT_PROXY_PASSWORD, --proxy-credentials or ?credentials=FILE")
		}
	}
}
