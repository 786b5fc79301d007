package probe

import (
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/probe"
)

// countFlags are the flags that say how --count probes.
var countFlags = args.Names{"interval", "parallel"}

// NewProber returns the Prober that the flags describe, for the route of the plan.
// onTerminal reports whether stdout is a terminal.
func NewProber(flags *args.Values, plan *route.Plan, onTerminal bool) (*probe.Prober, error) {
	if plan.Client.Route.Direct() {
		return nil, args.Usagef("name it with --proxy http://HOST:PORT", "there is no proxy to probe: the way would be direct (%s)", plan.Why)
	}
	if hops := plan.Client.Route.Hops; strings.HasPrefix(hops[len(hops)-1].Scheme, "socks") {
		return nil, args.Usagef("name one with --proxy http://HOST:PORT; culvert dial -v goes through SOCKS", "probe is about CONNECT, and %s speaks SOCKS", hops[len(hops)-1])
	}
	for _, name := range countFlags {
		if flags.IsTyped(name) && !flags.IsSet("count") {
			return nil, args.Usagef("add --count N, or leave it out", "%s is for --count", flags.Source(name))
		}
	}
	if err := oneForm(flags, plan.Client.Route, onTerminal); err != nil {
		return nil, err
	}
	check, err := interceptionCheck(flags)
	if err != nil {
		return nil, err
	}
	p := &probe.Prober{Client: plan.Client, Why: plan.Why, Interception: check, ShowSecrets: flags.Bool("show-secrets")}
	if p.Wait, err = flags.Timeout("wait"); err != nil {
		return nil, err
	}
	if send := flags.String("send"); send != "" {
		if p.Wait < 0 {
			return nil, args.Usagef("leave --wait out", "--send is of no use with --wait 0: nobody would see the answer")
		}
		var b tunnel.WireBytes
		if err := b.UnmarshalText([]byte(send)); err != nil {
			return nil, flags.Mistake("send", err, `as in --send 'HEAD / HTTP/1.0\r\n\r\n'`)
		}
		p.Send = b
	}
	return p, nil
}
