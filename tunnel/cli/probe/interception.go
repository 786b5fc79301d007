package probe

import (
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/interception"
)

// interceptionFlags are the flags that say how to check for TLS interception.
var interceptionFlags = args.Names{"tls-no-direct", "tls-unrelated"}

// interceptionCheck returns the check for TLS interception that --tls makes. It is nil
// without --tls, and with --count: a series connects to nothing but the proxy.
func interceptionCheck(flags *args.Values) (*interception.Check, error) {
	if !flags.Bool("tls") || flags.IsSet("count") {
		for _, name := range interceptionFlags {
			if flags.IsTyped(name) {
				return nil, args.Usagef("leave it out", "%s is for --tls without --count", flags.Source(name))
			}
		}
		return nil, nil
	}
	check := &interception.Check{NoDirect: flags.Bool("tls-no-direct")}
	for _, words := range flags.Strings("tls-unrelated") {
		if check.Unrelated == nil {
			check.Unrelated = []tunnel.Authority{}
		}
		for _, word := range strings.FieldsFunc(words, func(r rune) bool { return r == ',' || r == ' ' }) {
			if word == "none" {
				continue
			}
			a, err := tunnel.ParseTarget(word)
			if err != nil {
				return nil, args.Usagef("as in --tls-unrelated www.example.org:443, or none", "--tls-unrelated: %v", err)
			}
			check.Unrelated = append(check.Unrelated, a)
		}
	}
	return check, nil
}
