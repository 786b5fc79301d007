package serve

import (
	"time"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/client"
	"culvert/tunnel/listen"
	"culvert/tunnel/proxy"
)

// drainTimeout is the default of --drain-timeout. docker stop, and others like it, kill
// after ten seconds, and by then the last lines of the log must be written.
const drainTimeout = 8 * time.Second

// Flags returns the flags of serve, in the order of the help.
func Flags() []args.Flag {
	return []args.Flag{
		{Name: "listen", Kind: args.List, KeepSpace: true, DefaultText: listen.Default,
			Usage: "accept clients on `URL`: http://HOST:PORT, https://HOST:PORT, HOST:PORT or unix:PATH"},
		{Name: "tls-cert", Kind: args.Text,
			Usage: "certificate, and its chain, of https listeners: a PEM `FILE`, read anew when it changes"},
		{Name: "tls-key", Kind: args.Text, Usage: "the certificate's key: a PEM `FILE`"},
		{Name: "tls-self-signed", Kind: args.Switch,
			Usage: "make a certificate in memory instead, to try things out, and print its pin"},
		{Name: "acme", Kind: args.List, KeepSpace: true,
			Usage: "get a certificate for `HOST`, whose port 443 leads here, from an ACME authority, and accept its terms"},
		{Name: "acme-dir", Kind: args.Text, DefaultText: "culvert-acme in your cache folder",
			Usage: "with --acme: keep certificates in `DIR`"},
		{Name: "acme-url", Kind: args.Text, Usage: "with --acme: `URL` of the authority's directory, if not Let's Encrypt's"},
		{Name: "acme-ca", Kind: args.Text, Usage: "with --acme: PEM `FILE` of authorities to trust for that URL"},
		{Name: "tls-client-ca", Kind: args.Text,
			Usage: "a client certificate from the authorities in this PEM `FILE` makes a user"},
		{Name: "allow", Kind: args.List, KeepSpace: true, DefaultText: "*:22,80,443",
			Usage: "allow targets that match `PATTERN`"},
		{Name: "deny", Kind: args.List, KeepSpace: true, Usage: "deny targets that match `PATTERN`"},
		{Name: "allow-addr", Kind: args.List, KeepSpace: true,
			Usage: "allow targets that lead to `WHERE`, a CIDR or a class"},
		{Name: "deny-addr", Kind: args.List, KeepSpace: true, Usage: "deny targets that lead to `WHERE`, a CIDR or a class"},
		{Name: "rules", Kind: args.List, KeepSpace: true,
			Usage: "and by the rules in `FILE`: lines allow PATTERN, deny PATTERN, allow-addr WHERE or deny-addr WHERE, read anew at SIGHUP"},
		{Name: "allow-client", Kind: args.List, KeepSpace: true, Usage: "serve only clients from `CIDR`"},
		{Name: "users", Kind: args.Text, Usage: "want a user name and password that are in the htpasswd `FILE`, read anew at SIGHUP"},
		{Name: "realm", Kind: args.Text, Default: "culvert", Usage: "name of what the password is for"},
		{Name: "open", Kind: args.Switch, TypedOnly: true,
			Usage: "serve anyone who reaches a listener: an open proxy, on purpose"},
		{Name: "via", Kind: args.List, KeepSpace: true,
			Usage: "reach targets through another proxy by `RULE`: ROUTE, or PATTERN=ROUTE; first match wins"},
		{Name: "via-resolve", Kind: args.Switch,
			Usage: "resolve names behind --via here, judge the addresses, and ask the proxy for these"},
		{Name: "header-timeout", Kind: args.Duration, Default: proxy.DefaultHeaderTimeout,
			Usage: "`TIME` for a request's head to arrive"},
		{Name: "connect-timeout", Kind: args.Duration, Default: client.DefaultConnectTimeout,
			Usage: "`TIME` to resolve and connect"},
		{Name: "idle-timeout", Kind: args.Duration, DefaultText: "off",
			Usage: "end tunnels, and plain requests, that are silent both ways for `TIME`"},
		{Name: "linger", Kind: args.Duration, Default: proxy.DefaultLinger,
			Usage: "end a tunnel's second half after `TIME` without progress"},
		{Name: "max-tunnels", Kind: args.Number, DefaultText: "what the descriptor limit carries",
			Usage: "open at most `N` tunnels at once"},
		{Name: "max-tunnels-per-client", Kind: args.Number, DefaultText: "off",
			Usage: "and at most `N`, plain requests in flight included, for one client address"},
		{Name: "max-connections-per-client", Kind: args.Number, DefaultText: "with --users an eighth of all, else off",
			Usage: "hold at most `N` connections, those to targets included, for one client address"},
		{Name: "drain-timeout", Kind: args.Duration, Default: drainTimeout,
			Usage: "after SIGTERM, `TIME` for open tunnels to end"},
		{Name: "name", Kind: args.Text, DefaultText: "culvert- and random digits",
			Usage: "this proxy's `NAME` in Via and Proxy-Status"},
		{Name: "no-sandbox", Kind: args.Switch,
			Usage: "run without the sandbox: allow core dumps, tracing, programs, and writing files anywhere"},
		{Name: "access-log", Kind: args.Text, Default: "-", Usage: "append the access log to `FILE`; - is stderr"},
		{Name: "log-format", Kind: args.Text, Default: "text", Usage: "log as `text|json`"},
		{Name: "log-level", Kind: args.Text, Default: "info", Usage: "log from this level on: `debug|info|warn|error`"},
	}
}
