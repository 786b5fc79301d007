// Package route is the part of the command line that dial and probe share: the
// flags that say by which route to reach a target, and with which credentials;
// what they set up, a tunnel.Client; and what -v, --why and --stats tell of it.
//
// It promises to connect to no proxy and no target by itself: it reads files, runs
// the programs that the flags name, asks a person, and fetches a script for
// proxy auto-config. A mistake in a flag is an *args.Error.
//
// It never imports urfave/cli nor fatih/color, nor the packages of serve and of
// the audit.
package route

import (
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// HelpText is the paragraph of the help that tells how the route is chosen.
const HelpText = `Without --proxy, the first of CULVERT_PROXY, HTTPS_PROXY, https_proxy, ALL_PROXY,
all_proxy that is set names the proxy, unless NO_PROXY (or no_proxy) exempts the
target: a list, by commas, of names (with their subdomains), .names (those
alone), addresses, CIDRs, each with :PORT if for one port only, or *. localhost
and loopback addresses are always exempt. NO_PROXY never concerns --proxy.
--proxy-user takes the password from CULVERT_PROXY_PASSWORD; it and
--proxy-credentials are for the first proxy and win over its URL. Of the schemes
that the proxy offers Negotiate (with the Kerberos tickets of kinit), Digest, NTLM
and Basic are tried in this order.`

// Flags are the flags that dial and probe have in common.
func Flags() []args.Flag {
	return []args.Flag{
		{Kind: args.List, Name: "proxy", Aliases: []string{"x"}, Usage: "`URL` of a proxy: http://[USER:PASSWORD@]HOST[:PORT], the same without http:// or with https, h2, h2c, socks5h, socks5 (resolves here) or socks4a, unix:PATH, or direct; again for each further hop"},
		{Kind: args.Text, Name: "pac", Usage: "ask the proxy auto-config script in `FILE`, or at a URL, for the proxies, instead of the environment"},
		{Kind: args.Switch, Name: "wpad", Usage: "ask the script of this network, at http://wpad.DOMAIN/wpad.dat: whoever answers there decides"},
		{Kind: args.Text, Name: "proxy-protocol", Aliases: []string{"X"}, Usage: "what proxies without a scheme speak, as nc has it: `connect|5|4`"},
		{Kind: args.Text, Name: "proxy-user", Usage: "`NAME` for the first proxy; the password comes from CULVERT_PROXY_PASSWORD"},
		{Kind: args.Text, Name: "proxy-credentials", Usage: "`FILE` of one line, user:password, for the first proxy"},
		{Kind: args.Text, Name: "credentials-command", Usage: "`COMMAND` for the shell that prints the first proxy's user:password; CULVERT_HOP names the proxy to it"},
		{Kind: args.Switch, Name: "askpass", Usage: "ask for the first proxy's password: by the program in CULVERT_ASKPASS, on the terminal, or by that in SSH_ASKPASS"},
		{Kind: args.Switch, Name: "netrc", Usage: "take the credentials of proxies that have none from the file that NETRC names, or .netrc in the home folder"},
		{Kind: args.Text, Name: "netrc-file", Usage: "or from this `FILE`"},
		{Kind: args.Text, Name: "keytab", Usage: "take Kerberos tickets by the keys in `FILE`, instead of kinit's"},
		{Kind: args.Text, Name: "principal", Usage: "with --keytab: `NAME@REALM` whose key to use"},
		{Kind: args.Text, Name: "auth", Usage: "show the credentials by `basic|digest|ntlm|negotiate|bearer` only, instead of the strongest scheme that the proxy offers; for bearer the password is the token"},
		{Kind: args.List, Name: "header", Aliases: []string{"H"}, Usage: "`'NAME: VALUE'` to send along with CONNECT; 'NAME:' removes one that is sent by default"},
		{Kind: args.Text, Name: "cacert", Usage: "trust https proxies whose certificate leads to one in the PEM `FILE`, and no others"},
		{Kind: args.Text, Name: "cert", Usage: "our certificate for https proxies: a PEM `FILE`, which may hold the key too"},
		{Kind: args.Text, Name: "key", Usage: "its key: a PEM `FILE`"},
		{Kind: args.Text, Name: "proxy-server-name", Usage: "send, and verify, `NAME` instead of the https proxy's host"},
		{Kind: args.List, Name: "pin", Usage: "want an https proxy's key to be `sha256//BASE64`; again for a further one"},
		{Kind: args.Switch, Name: "insecure", Aliases: []string{"k"}, TypedOnly: true, Usage: "take any certificate of https proxies; with --pin the key decides"},
		{Kind: args.Switch, Name: "tls", Usage: "speak TLS with the target, inside the tunnel"},
		{Kind: args.Text, Name: "tls-server-name", Usage: "with --tls: send, and verify, `NAME` instead of the target's host"},
		{Kind: args.Text, Name: "tls-alpn", Usage: "with --tls: offer `PROTOCOLS`, joined by commas, as h2,http/1.1"},
		{Kind: args.Text, Name: "tls-cacert", Usage: "with --tls: trust targets by the authorities in the PEM `FILE`"},
		{Kind: args.Switch, Name: "tls-insecure", TypedOnly: true, Usage: "with --tls: take any certificate of the target's"},
		{Kind: args.Switch, Name: "ipv4", Aliases: []string{"4"}, Usage: "connect over IPv4 only"},
		{Kind: args.Switch, Name: "ipv6", Aliases: []string{"6"}, Usage: "connect over IPv6 only"},
		{Kind: args.Duration, Name: "connect-timeout", Default: tunnel.DefaultConnectTimeout, Usage: "`TIME` for resolving and connecting to the first hop; 0 is off"},
		{Kind: args.Duration, Name: "timeout", Default: tunnel.DefaultOpenTimeout, Usage: "`TIME` until the tunnel is open; 0 is off; none applies after"},
		{Kind: args.Switch, Name: "verbose", Aliases: []string{"v"}, Usage: "tell on stderr what happens"},
		{Kind: args.Switch, Name: "show-secrets", TypedOnly: true, Usage: "do not mask credentials in what is told"},
	}
}

// DialFlags are the flags of dial alone.
func DialFlags() []args.Flag {
	return []args.Flag{
		{Kind: args.List, Name: "or", Usage: "`ROUTE` to take where the one before cannot be taken, its proxies joined by commas, or direct; again for a further one"},
		{Kind: args.Text, Name: "on-eof", Default: string(tunnel.EOFHalfClose), Usage: "at end of file on stdin: `half-close|wait|close`; wait helps where a proxy drops the answer after a half-close"},
		{Kind: args.Switch, Name: "fdpass", Aliases: []string{"F"}, TypedOnly: true, Usage: "hand the open tunnel's socket over on stdout and exit, for ssh's ProxyUseFdpass yes"},
		{Kind: args.Text, Name: "listen", Aliases: []string{"L"}, Usage: "instead of stdin and stdout: accept connections on `ADDR`, each for a tunnel of its own: PORT or HOST:PORT, unix:PATH, or socks5://HOST:PORT, which needs no target"},
		{Kind: args.Switch, Name: "open", TypedOnly: true, Usage: "with --listen: beyond this machine, for anyone, on purpose"},
		{Kind: args.Duration, Name: "drain-timeout", Default: 30 * time.Second, Usage: "with --listen: after SIGTERM, `TIME` for open tunnels to end"},
		{Kind: args.Switch, Name: "exec", TypedOnly: true, Usage: "instead of stdin and stdout: run the command behind the target, whose own they become"},
		{Kind: args.Switch, Name: "stats", Usage: "at the end, one line of JSON on stderr: bytes, times, exit code"},
		{Kind: args.Number, Name: "stats-fd", Usage: "or on the descriptor `N`"},
		{Kind: args.Text, Name: "why", Usage: "print how `HOST:PORT` would be reached, and why so, and exit"},
		{Kind: args.Switch, Name: "print-ssh-config", Usage: "print the lines for ~/.ssh/config that send the hosts in the arguments this way, and exit"},
		{Kind: args.Text, Name: "as", Usage: "take the arguments of another program, PROXY PORT HOST PORT [AUTHFILE]: `corkscrew`; so called, culvert does"},
	}
}
