package route

import (
	"cmp"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// tls reads the options of TLS with proxies, and of TLS with the target inside the
// tunnel.
func (p *Plan) tls() error {
	const forms = "they are PEM files; a pin is sha256// and 32 bytes in base64, as culvert serve and probe print it"
	proxy := tunnel.ClientTLSFiles{Roots: p.flags.String("cacert"), Cert: p.flags.String("cert"), Key: p.flags.String("key"),
		ServerName: p.flags.String("proxy-server-name"), Insecure: p.flags.Bool("insecure"), Pins: p.flags.Strings("pin")}
	if !proxy.IsZero() {
		options, notes, err := proxy.Options()
		if err != nil {
			return args.Usagef(forms, "TLS to proxies: %v", err)
		}
		used, err := p.Client.Route.UseTLS(options)
		for i := range p.Client.Or {
			u, failed := p.Client.Or[i].UseTLS(options)
			used, err = used || u, cmp.Or(err, failed)
		}
		switch {
		case err != nil:
			return args.Usagef("leave --proxy-server-name out", "%v", err)
		case !used:
			notes = append(notes, "no proxy on the way speaks TLS: what is said of certificates is not used")
		}
		p.Notes = append(p.Notes, notes...)
	}
	target := tunnel.ClientTLSFiles{Roots: p.flags.String("tls-cacert"), ServerName: p.flags.String("tls-server-name"), Insecure: p.flags.Bool("tls-insecure")}
	alpn := p.flags.String("tls-alpn")
	if !p.flags.Bool("tls") {
		if !target.IsZero() || alpn != "" {
			return args.Usagef("say --tls as well", "--tls-server-name, --tls-alpn, --tls-cacert and --tls-insecure are for --tls")
		}
		return nil
	}
	options, _, err := target.Options()
	if err != nil {
		return p.flags.Mistake("tls-cacert", err, forms)
	}
	if alpn != "" {
		options.Protocols = strings.Split(alpn, ",")
	}
	p.Client.TLS = options
	return nil
}
