package route

import (
	"fmt"
	"os"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// credentialSources are the flags of which one may say where the first proxy's
// credentials come from.
var credentialSources = args.Names{"proxy-credentials", "credentials-command", "askpass"}

// credentials fills in those of the first hop, and from netrc those of the
// others that have none.
func (w *Way) credentials() error {
	c, err := w.firstCredentials()
	if err != nil {
		return err
	}
	hops := w.Client.Route.Hops
	switch {
	case c == nil:
	case len(hops) == 0:
		w.Notes = append(w.Notes, "the proxy's credentials are not used: the way is direct")
	default:
		hops[0].Credentials = c
	}
	return nil
}

// firstCredentials are those that flags and CULVERT_PROXY_PASSWORD give the
// first hop; nil if they say nothing.
func (w *Way) firstCredentials() (*tunnel.Credentials, error) {
	source, err := w.oneOf(credentialSources)
	if err != nil {
		return nil, err
	}
	user := w.flags.String("proxy-user")
	password, set := os.LookupEnv("CULVERT_PROXY_PASSWORD")
	var known *tunnel.Credentials // the URL's
	if hops := w.Client.Route.Hops; len(hops) > 0 {
		known = hops[0].Credentials
	}
	var c *tunnel.Credentials
	switch {
	case source == "proxy-credentials" && user != "":
		return nil, args.Usagef("leave one of them out", "--proxy-user and --proxy-credentials exclude each other")
	case source == "proxy-credentials":
		c, err = w.fromFile(w.flags.String(source))
	case source != "" && w.Client.Route.Direct():
		return nil, nil // nobody need be asked
	case source == "credentials-command":
		c, err = w.fromCommand(user)
	case source == "askpass":
		c, err = w.fromPerson(user, known)
	case user != "" && !set:
		return nil, args.Usagef("put it there, or use --askpass, or a file with user:password and --proxy-credentials", "--proxy-user needs the password in CULVERT_PROXY_PASSWORD")
	case user != "":
		source = "proxy-user"
		c = &tunnel.Credentials{User: user, Password: password, Source: w.flags.Source("proxy-user") + " and CULVERT_PROXY_PASSWORD"}
	case set && known != nil && known.Password == "":
		c = &tunnel.Credentials{User: known.User, Password: password, Source: w.Client.Route.Source + " and CULVERT_PROXY_PASSWORD"}
		if err := c.Check(); err != nil {
			return nil, args.Usagef("correct CULVERT_PROXY_PASSWORD", "%v", err)
		}
	}
	if err == nil && c != nil {
		err = c.Check()
	}
	if err != nil {
		return nil, w.flags.Mistake(source, err, secretHint(err, sourceHints[source]))
	}
	return c, nil
}

// sourceHints say what each source is to hold.
var sourceHints = map[string]string{
	"proxy-user":          "give the name alone; the password comes from CULVERT_PROXY_PASSWORD",
	"proxy-credentials":   "the file holds one line, user:password; with --auth bearer the token",
	"credentials-command": "the command prints one line, user:password; the password alone with --proxy-user, the token with --auth bearer",
	"askpass":             "use --proxy-credentials FILE or --credentials-command where nobody can be asked",
}

// oneOf returns the one of some flags that is given, "" for none.
func (w *Way) oneOf(names args.Names) (given string, err error) {
	for _, name := range names {
		if !w.flags.IsGiven(name) {
			continue
		}
		if given != "" {
			return "", args.Usagef("leave one of them out", "--%s and --%s exclude each other", given, name)
		}
		given = name
	}
	return given, nil
}

func (w *Way) bearer() bool { return strings.EqualFold(w.flags.String("auth"), tunnel.AuthBearer) }

func (w *Way) fromFile(path string) (*tunnel.Credentials, error) {
	read := tunnel.ReadCredentials
	if w.bearer() {
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

func (w *Way) fromCommand(user string) (*tunnel.Credentials, error) {
	hop := w.Client.Route.Hops[0].Name()
	return w.once("command", func() (*tunnel.Credentials, error) {
		line, err := runCommand(w.flags.String("credentials-command"), hop)
		if err != nil {
			return nil, err
		}
		c := &tunnel.Credentials{User: user, Password: line}
		if user == "" && !w.bearer() {
			name, password, ok := strings.Cut(line, ":")
			if !ok || name == "" {
				return nil, fmt.Errorf("what it printed is not user:password")
			}
			c.User, c.Password = name, password
		}
		c.Source = w.flags.Source("credentials-command")
		return c, nil
	})
}

func (w *Way) fromPerson(user string, known *tunnel.Credentials) (*tunnel.Credentials, error) {
	hop := w.Client.Route.Hops[0].Name()
	if user == "" && known != nil {
		user = known.User
	}
	return w.once("person", func() (c *tunnel.Credentials, err error) {
		c = &tunnel.Credentials{User: user, Source: w.flags.Source("askpass")}
		prompt := "Token for " + hop + ": "
		if !w.bearer() {
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

// once asks once for all ways of a Chooser.
func (w *Way) once(whom string, get func() (*tunnel.Credentials, error)) (*tunnel.Credentials, error) {
	key := whom + " " + w.Client.Route.Hops[0].String()
	if c, ok := w.chooser.asked[key]; ok {
		return c, nil
	}
	c, err := get()
	if err == nil {
		w.chooser.asked[key] = c
	}
	return c, err
}

// netrc fills in the credentials of hops that have none.
func (w *Way) netrc() error {
	flag, path := "netrc-file", w.flags.String("netrc-file")
	if path == "" {
		if !w.flags.Bool("netrc") {
			return nil
		}
		var err error
		if path, err = netrcPath(); err != nil {
			return w.flags.Mistake("netrc", err, "name the file with --netrc-file FILE")
		}
		flag = "netrc"
	}
	const form = "it holds lines as: machine proxy.corp login NAME password PASSWORD"
	n, err := readNetrc(path)
	if err != nil {
		return w.flags.Mistake(flag, err, secretHint(err, form))
	}
	routes := append([]tunnel.Route{w.Client.Route}, w.Client.Or...)
	for _, r := range routes {
		for i := range r.Hops {
			h := &r.Hops[i]
			if h.Credentials != nil || h.Scheme == tunnel.SchemeUnix {
				continue
			}
			if h.Credentials, err = n.find(h.Proxy.Host()); err != nil {
				return w.flags.Mistake(flag, err, form)
			}
		}
	}
	return nil
}
