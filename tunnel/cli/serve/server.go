package serve

import (
	"errors"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/policy"
	"culvert/tunnel/proxy"
)

// durations and numbers are flags that must not be negative.
var (
	durations = args.Names{"header-timeout", "connect-timeout", "idle-timeout", "linger", "drain-timeout"}
	numbers   = args.Names{"max-tunnels", "max-tunnels-per-client", "max-connections-per-client"}
)

// NewServer returns the Server that the flags describe, without its logs. A mistake in a
// flag, or in a file that one names, is an *args.Error.
func NewServer(flags *args.Values) (*proxy.Server, error) {
	s := &proxy.Server{
		Name:                flags.String("name"),
		Realm:               flags.String("realm"),
		ViaResolve:          flags.Bool("via-resolve"),
		MaxTunnelsPerClient: flags.Int("max-tunnels-per-client"),
		HeaderTimeout:       zeroIsOff(flags.Duration("header-timeout")),
		ConnectTimeout:      zeroIsOff(flags.Duration("connect-timeout")),
		IdleTimeout:         flags.Duration("idle-timeout"), // off by default
		Linger:              zeroIsOff(flags.Duration("linger")),
	}
	if flags.IsSet("max-tunnels") {
		if s.MaxTunnels = flags.Int("max-tunnels"); s.MaxTunnels == 0 {
			s.MaxTunnels = -1
		}
	}
	if flags.IsSet("max-connections-per-client") {
		if s.MaxConnectionsPerClient = flags.Int("max-connections-per-client"); s.MaxConnectionsPerClient == 0 {
			s.MaxConnectionsPerClient = -1
		}
	}
	if s.Name != "" {
		if err := proxy.CheckName(s.Name); err != nil {
			return nil, flags.Mistake("name", err, "as in --name proxy.example.com")
		}
	}
	for _, name := range durations {
		if flags.Duration(name) < 0 {
			return nil, flags.Mistake(name, errors.New("a duration cannot be negative"), "0 turns the limit off")
		}
	}
	for _, name := range numbers {
		if flags.Int(name) < 0 {
			return nil, flags.Mistake(name, errors.New("a limit cannot be negative"), "0 turns the limit off")
		}
	}
	if file := flags.String("users"); file != "" {
		users, err := proxy.LoadUsers(file)
		if err != nil {
			return nil, flags.Mistake("users", err, "make the file with: htpasswd -B -c FILE NAME")
		}
		s.Verifier = users
	}
	return s, readRules(flags, s)
}

// zeroIsOff translates 0, which means off on the command line, for package proxy, where 0
// means the default and a negative duration off.
func zeroIsOff(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// readRules reads the policy, the allowed clients and the routes to other proxies.
func readRules(flags *args.Values, s *proxy.Server) (err error) {
	const patterns = "HOST[:PORTS], as in '*.example.com:22,443'; culvert serve --help tells the forms"
	const addresses = "a CIDR as 10.0.0.0/8, an address, or public, private, loopback, link-local, metadata, special"
	if s.Policy.Allow, err = each(flags, "allow", patterns, policy.ParsePattern); err != nil {
		return err
	}
	if s.Policy.Deny, err = each(flags, "deny", patterns, policy.ParsePattern); err != nil {
		return err
	}
	if s.Policy.AllowAddr, err = each(flags, "allow-addr", addresses, policy.ParseAddrRule); err != nil {
		return err
	}
	if s.Policy.DenyAddr, err = each(flags, "deny-addr", addresses, policy.ParseAddrRule); err != nil {
		return err
	}
	if s.AllowClient, err = each(flags, "allow-client", "a CIDR as 10.0.0.0/8, or an address", policy.ParseNetwork); err != nil {
		return err
	}
	s.Via, err = each(flags, "via", "http://HOST:PORT, or PATTERN=http://HOST:PORT", proxy.ParseViaRule)
	return err
}

// ViaNotes returns a note for a person if a password for another proxy stands on the
// command line, where every user of the machine can read it.
func ViaNotes(flags *args.Values, s *proxy.Server) (notes []string) {
	if !flags.IsTyped("via") {
		return nil
	}
	for _, rule := range s.Via {
		for _, r := range append([]tunnel.Route{rule.Route}, rule.Or...) {
			for _, h := range r.Hops {
				if c := h.Credentials; c != nil && c.Password != "" && c.Source == "" {
					return []string{"the password in " + flags.Source("via") + " is visible in the process list: keep it in a file, as in http://HOST:PORT?credentials=FILE, or set CULVERT_SERVE_VIA"}
				}
			}
		}
	}
	return nil
}

// each parses all values of a repeatable flag, and returns nil if there are none.
func each[T any](flags *args.Values, name, hint string, parse func(string) (T, error)) ([]T, error) {
	var out []T
	for _, value := range flags.Strings(name) {
		v, err := parse(value)
		if err != nil {
			return nil, flags.Mistake(name, err, hint)
		}
		out = append(out, v)
	}
	return out, nil
}
