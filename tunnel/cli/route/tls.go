package route

import (
	"cmp"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// tls reads how TLS is spoken with proxies and, inside the tunnel, with the
// target.
func (w *Way) tls() error {
	const forms = "they are PEM files; a pin is sha256// and 32 bytes in base64, as culvert serve and probe print it"
	proxy := tunnel.ClientTLSFiles{Roots: w.flags.String("cacert"), Cert: w.flags.String("cert"), Key: w.flags.String("key"),
		ServerName: w.flags.String("proxy-server-name"), Insecure: w.flags.Bool("insecure"), Pins: w.flags.Strings("pin")}
	if !proxy.IsZero() {
		options, notes, err := proxy.Options()
		if err != nil {
			return args.Usagef(forms, "TLS to proxies: %v", err)
		}
		used, err := w.Client.Route.UseTLS(options)
		for i := range w.Client.Or {
			u, failed := w.Client.Or[i].UseTLS(options)
			used, err = used || u, cmp.Or(err, failed)
		}
		switch {
		case err != nil:
			return args.Usagef("leave --proxy-server-name out", "%v", err)
		case !used:
			notes = append(notes, "no proxy on the way speaks TLS: what is said of certificates is not used")
		}
		w.Notes = append(w.Notes, notes...)
	}
	target := tunnel.ClientTLSFiles{Roots: w.flags.String("tls-cacert"), ServerName: w.flags.String("tls-server-name"), Insecure: w.flags.Bool("tls-insecure")}
	alpn := w.flags.String("tls-alpn")
	if !w.flags.Bool("tls") {
		if !target.IsZero() || alpn != "" {
			return args.Usagef("say --tls as well", "--tls-server-name, --tls-alpn, --tls-cacert and --tls-insecure are for --tls")
		}
		return nil
	}
	options, _, err := target.Options()
	if err != nil {
		return w.flags.Mistake("tls-cacert", err, forms)
	}
	if alpn != "" {
		options.Protocols = strings.Split(alpn, ",")
	}
	w.Client.TLS = options
	return nil
}
