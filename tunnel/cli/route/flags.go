package route

import (
	"culvert/tunnel/cli/args"
	"culvert/tunnel/client"
)

// HelpText is the paragraph of the help that says how the route is chosen.
const HelpText = `Without --proxy, the first of CULVERT_PROXY, HTTPS_PROXY, https_proxy, ALL_PROXY,
all_proxy that is set names the proxy, unless NO_PROXY (or no_proxy) exempts the
target: a list, by commas, of names (with their subdomains), .names (those
alone), addresses, CIDRs, each with :PORT if for one port only, or *. localhost
and loopback addresses are always exempt. NO_PROXY never concerns --proxy.
--proxy-user takes the password from CULVERT_PROXY_PASSWORD; it and
--proxy-credentials are for the first proxy and win over its URL. Of the schemes
that the proxy offers Negotiate (with the Kerberos tickets of kinit), Digest, NTLM
and Basic are tried in this order.`

// Flags returns the flags that dial and probe have in common, in the order of the help.
func Flags() []args.Flag {
	return []args.Flag{
		{Name: "proxy", Kind: args.List, Aliases: []string{"x"},
			Usage: "`URL` of a proxy: http://[USER:PASSWORD@]HOST[:PORT], the same without http:// or with https, h2, h2c, " +
				"socks5h, socks5 (resolves here) or socks4a, with ?credentials=FILE behind it, unix:PATH, or direct; again for each further hop"},
		{Name: "pac", Kind: args.Text,
			Usage: "ask the proxy auto-config script in `FILE`, or at a URL, for the proxies, instead of the environment"},
		{Name: "wpad", Kind: args.Switch,
			Usage: "ask the script of this network, at http://wpad.DOMAIN/wpad.dat: whoever answers there decides"},
		{Name: "proxy-protocol", Kind: args.Text, Aliases: []string{"X"},
			Usage: "what proxies without a scheme speak, as nc has it: `connect|5|4`"},
		{Name: "proxy-user", Kind: args.Text,
			Usage: "`NAME` for the first proxy; the password comes from CULVERT_PROXY_PASSWORD"},
		{Name: "proxy-credentials", Kind: args.Text, Usage: "`FILE` of one line, user:password, for the first proxy"},
		{Name: "credentials-command", Kind: args.Text,
			Usage: "`COMMAND` for the shell that prints the first proxy's user:password; CULVERT_HOP names the proxy to it"},
		{Name: "askpass", Kind: args.Switch,
			Usage: "ask for the first proxy's password: by the program in CULVERT_ASKPASS, on the terminal, or by that in SSH_ASKPASS"},
		{Name: "netrc", Kind: args.Switch,
			Usage: "take the credentials of proxies that have none from the file that NETRC names, or .netrc in the home folder"},
		{Name: "netrc-file", Kind: args.Text, Usage: "or from this `FILE`"},
		{Name: "keytab", Kind: args.Text, Usage: "take Kerberos tickets by the keys in `FILE`, instead of kinit's"},
		{Name: "principal", Kind: args.Text, Usage: "with --keytab: `NAME@REALM` whose key to use"},
		{Name: "auth", Kind: args.Text,
			Usage: "show the credentials by `basic|digest|ntlm|ntlm-v1|negotiate|bearer` only, instead of the " +
				"strongest scheme that the proxy offers; for bearer the password is the token; ntlm-v1 is weak, for proxies that know nothing newer"},
		{Name: "header", Kind: args.List, Aliases: []string{"H"},
			Usage: "`'NAME: VALUE'` to send along with CONNECT; 'NAME:' removes one that is sent by default"},
		{Name: "cacert", Kind: args.Text,
			Usage: "trust https proxies whose certificate leads to one in the PEM `FILE`, and no others"},
		{Name: "cert", Kind: args.Text, Usage: "our certificate for https proxies: a PEM `FILE`, which may hold the key too"},
		{Name: "key", Kind: args.Text, Usage: "its key: a PEM `FILE`"},
		{Name: "proxy-server-name", Kind: args.Text, Usage: "send, and verify, `NAME` instead of the https proxy's host"},
		{Name: "pin", Kind: args.List, Usage: "want an https proxy's key to be `sha256//BASE64`; again for a further one"},
		{Name: "insecure", Kind: args.Switch, Aliases: []string{"k"}, TypedOnly: true,
			Usage: "take any certificate of https proxies; with --pin the key decides"},
		{Name: "tls", Kind: args.Switch, Usage: "speak TLS with the target, inside the tunnel"},
		{Name: "tls-server-name", Kind: args.Text,
			Usage: "with --tls: send, and verify, `NAME` instead of the target's host"},
		{Name: "tls-alpn", Kind: args.Text, Usage: "with --tls: offer `PROTOCOLS`, joined by commas, as h2,http/1.1"},
		{Name: "tls-cacert", Kind: args.Text, Usage: "with --tls: trust targets by the authorities in the PEM `FILE`"},
		{Name: "tls-insecure", Kind: args.Switch, TypedOnly: true, Usage: "with --tls: take any certificate of the target's"},
		{Name: "ipv4", Kind: args.Switch, Aliases: []string{"4"}, Usage: "connect over IPv4 only"},
		{Name: "ipv6", Kind: args.Switch, Aliases: []string{"6"}, Usage: "connect over IPv6 only"},
		{Name: "connect-timeout", Kind: args.Duration, Default: client.DefaultConnectTimeout,
			Usage: "`TIME` for resolving and connecting to the first hop; 0 is off"},
		{Name: "timeout", Kind: args.Duration, Default: client.DefaultOpenTimeout,
			Usage: "`TIME` until the tunnel is open; 0 is off; none applies after"},
		{Name: "verbose", Kind: args.Switch, Aliases: []string{"v"}, Usage: "tell on stderr what happens"},
		{Name: "show-secrets", Kind: args.Switch, TypedOnly: true, Usage: "do not mask credentials in what is told"},
	}
}
