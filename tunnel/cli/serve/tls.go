package serve

import (
	"fmt"
	"log/slog"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/listen"
)

// NewTLS returns what https listeners have in common, nil if there are none.
func NewTLS(flags *args.Values, specs []listen.Spec, errorLog *slog.Logger) (*listen.TLS, error) {
	o := listen.Options{
		CertFile:     flags.String("tls-cert"),
		KeyFile:      flags.String("tls-key"),
		SelfSigned:   flags.Bool("tls-self-signed"),
		ClientCAFile: flags.String("tls-client-ca"),
		ACME: listen.ACME{
			Hosts:     flags.Strings("acme"),
			Dir:       flags.String("acme-dir"),
			URL:       flags.String("acme-url"),
			RootsFile: flags.String("acme-ca"),
		},
		Log: errorLog,
	}
	for _, spec := range specs {
		if spec.TLS {
			o.Hosts = append(o.Hosts, spec.Host())
		}
	}
	if hint, err := o.Check(len(o.Hosts) > 0); err != nil {
		return nil, args.Usagef(hint, "%v", err)
	}
	secure, err := o.TLS()
	if err != nil {
		return nil, &args.Error{Message: fmt.Sprintf("cannot set TLS up: %v", err), ExitCode: tunnel.ExitCode(err),
			Hint: "certificates, keys and authorities are in PEM files, as openssl and certbot write them; --acme-dir is a folder of serve's own"}
	}
	return secure, nil
}
