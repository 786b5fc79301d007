package route

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/client"
)

// credentialSources are the flags that say where the first proxy's credentials come
// from; they exclude each other.
var credentialSources = args.Names{"proxy-credentials", "credentials-command", "askpass"}

// credentials sets the credentials of the first hop.
func (p *Plan) credentials() error {
	c, err := p.firstCredentials()
	if err != nil {
		return err
	}
	hops := p.Client.Route.Hops
	switch {
	case c == nil:
	case len(hops) == 0:
		p.Notes = append(p.Notes, "the proxy's credentials are not used: the way is direct")
	default:
		hops[0].Credentials = c
	}
	return nil
}

// Known returns the credentials of all hops, for the Chooser of another process.
func (p *Plan) Known() []*tunnel.Credentials {
	known := []*tunnel.Credentials{} // not nil, even if there are no hops
	for _, h := range p.hops() {
		known = append(known, h.Credentials)
	}
	return known
}

// setKnown sets the credentials of all hops from Chooser.Known.
func (p *Plan) setKnown() error {
	hops := p.hops()
	if len(hops) != len(p.chooser.Known) { // as when a script answers otherwise the second time
		return errors.New("the route has changed meanwhile: try again")
	}
	for i, h := range hops {
		h.Credentials = p.chooser.Known[i]
	}
	return nil
}

// hops returns the hops of the route and of its alternatives, in order.
func (p *Plan) hops() (hops []*tunnel.Hop) {
	for _, r := range append([]tunnel.Route{p.Client.Route}, p.Client.Or...) {
		for i := range r.Hops {
			hops = append(hops, &r.Hops[i])
		}
	}
	return hops
}

// firstCredentials returns the credentials for the first hop from the flags and
// CULVERT_PROXY_PASSWORD, nil if there are none.
func (p *Plan) firstCredentials() (*tunnel.Credentials, error) {
	source, err := p.oneOf(credentialSources)
	if err != nil {
		return nil, err
	}
	user := p.flags.String("proxy-user")
	password, set := os.LookupEnv("CULVERT_PROXY_PASSWORD")
	var known *tunnel.Credentials // from the proxy's URL
	if hops := p.Client.Route.Hops; len(hops) > 0 {
		known = hops[0].Credentials
	}
	var c *tunnel.Credentials
	switch {
	case source == "proxy-credentials" && user != "":
		return nil, args.Usagef("leave one of them out", "--proxy-user and --proxy-credentials exclude each other")
	case source == "proxy-credentials":
		c, err = p.fromFile(p.flags.String(source))
	case source != "" && p.Client.Route.Direct():
		return nil, nil // no proxy needs credentials
	case source == "credentials-command":
		c, err = p.fromCommand(user)
	case source == "askpass":
		c, err = p.fromPerson(user, known)
	case user != "" && !set:
		return nil, args.Usagef("put it there, or use --askpass, or a file with user:password and --proxy-credentials", "--proxy-user needs the password in CULVERT_PROXY_PASSWORD")
	case user != "":
		source = "proxy-user"
		c = &tunnel.Credentials{User: user, Password: password, Source: p.flags.Source("proxy-user") + " and CULVERT_PROXY_PASSWORD"}
	case set && known != nil && known.Password == "":
		c = &tunnel.Credentials{User: known.User, Password: password, Source: p.Client.Route.Source + " and CULVERT_PROXY_PASSWORD"}
		if err := c.Check(); err != nil {
			return nil, args.Usagef("correct CULVERT_PROXY_PASSWORD", "%v", err)
		}
	}
	if err == nil && c != nil {
		err = c.Check()
	}
	if err != nil {
		return nil, p.flags.Mistake(source, err, secretHint(err, sourceHints[source]))
	}
	return c, nil
}

// sourceHints says what each source must contain.
var sourceHints = map[string]string{
	"proxy-user":          "give the name alone; the password comes from CULVERT_PROXY_PASSWORD",
	"proxy-credentials":   "the file holds one line, user:password; with --auth bearer the token",
	"credentials-command": "the command prints one line, user:password; the password alone with --proxy-user, the token with --auth bearer",
	"askpass":             "use --proxy-credentials FILE or --credentials-command where nobody can be asked",
}

// oneOf returns the name of the one flag that is given, "" if none is.
func (p *Plan) oneOf(names args.Names) (given string, err error) {
	for _, name := range names {
		if !p.flags.IsGiven(name) {
			continue
		}
		if given != "" {
			return "", args.Usagef("leave one of them out", "--%s and --%s exclude each other", given, name)
		}
		given = name
	}
	return given, nil
}

// bearer reports whether the password is a token, for --auth bearer.
func (p *Plan) bearer() bool { return strings.EqualFold(p.flags.String("auth"), client.AuthBearer) }

// fromFile reads the credentials from the file of --proxy-credentials.
func (p *Plan) fromFile(path string) (*tunnel.Credentials, error) {
	read := tunnel.ReadCredentials
	if p.bearer() {
		read = tunnel.ReadToken
	}
	c, exposed, err := read(path)
	switch {
	case err != nil:
		return nil, err
	case exposed:
		return nil, &exposedError{path}
	}
	c.Source = path
	return &c, nil
}

// fromCommand returns the credentials that --credentials-command prints.
func (p *Plan) fromCommand(user string) (*tunnel.Credentials, error) {
	hop := p.Client.Route.Hops[0].Name()
	return p.once("command", func() (*tunnel.Credentials, error) {
		line, err := runCommand(p.flags.String("credentials-command"), hop)
		if err != nil {
			return nil, err
		}
		c := &tunnel.Credentials{User: user, Password: line}
		if user == "" && !p.bearer() {
			name, password, ok := strings.Cut(line, ":")
			if !ok || name == "" {
				return nil, fmt.Errorf("what it printed is not user:password")
			}
			c.User, c.Password = name, password
		}
		c.Source = p.flags.Source("credentials-command")
		return c, nil
	})
}

// fromPerson asks a person for the password, and for the user name if it is not known.
func (p *Plan) fromPerson(user string, known *tunnel.Credentials) (*tunnel.Credentials, error) {
	hop := p.Client.Route.Hops[0].Name()
	if user == "" && known != nil {
		user = known.User
	}
	return p.once("person", func() (c *tunnel.Credentials, err error) {
		c = &tunnel.Credentials{User: user, Source: p.flags.Source("askpass")}
		prompt := "Token for " + hop + ": "
		if !p.bearer() {
			if user == "" {
				if c.User, err = ask("User name at "+hop+": ", false); err != nil {
					return nil, err
				}
			}
			prompt = "Password of " + c.User + " at " + hop + ": "
		}
		c.Password, err = ask(args.Printable(prompt), true)
		return c, err
	})
}

// once calls get for the credentials of the first hop, once for all Plans of a Chooser.
func (p *Plan) once(source string, get func() (*tunnel.Credentials, error)) (*tunnel.Credentials, error) {
	key := source + " " + p.Client.Route.Hops[0].String()
	if c, ok := p.chooser.asked[key]; ok {
		return c, nil
	}
	c, err := get()
	if err == nil {
		p.chooser.asked[key] = c
	}
	return c, err
}

// netrc sets the credentials of hops that have none, by --netrc or --netrc-file.
func (p *Plan) netrc() error {
	flag, path := "netrc-file", p.flags.String("netrc-file")
	if path == "" {
		if !p.flags.Bool("netrc") {
			return nil
		}
		var err error
		if path, err = netrcPath(); err != nil {
			return p.flags.Mistake("netrc", err, "name the file with --netrc-file FILE")
		}
		flag = "netrc"
	}
	const form = "it holds lines as: machine proxy.corp login NAME password PASSWORD"
	n, err := readNetrc(path)
	if err != nil {
		return p.flags.Mistake(flag, err, secretHint(err, form))
	}
	routes := append([]tunnel.Route{p.Client.Route}, p.Client.Or...)
	for _, r := range routes {
		for i := range r.Hops {
			h := &r.Hops[i]
			if h.Credentials != nil || h.Scheme == tunnel.SchemeUnix {
				continue
			}
			if h.Credentials, err = n.find(h.Proxy.Host()); err != nil {
				return p.flags.Mistake(flag, err, form)
			}
		}
	}
	return nil
}
