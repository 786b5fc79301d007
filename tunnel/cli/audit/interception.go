package audit

import (
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// Interception is what probe --tls looks for somebody in the middle with. It is
// nil without --tls, and for --count: a series asks nobody else.
func Interception(values args.Values, settings []args.Setting) (*tunnel.InterceptionCheck, error) {
	if !values.Bool("tls") || args.Find(settings, "count").Source != "" {
		for _, name := range []string{"tls-no-direct", "tls-unrelated"} {
			if s := args.Find(settings, name); strings.HasPrefix(s.Source, "-") {
				return nil, args.Usagef("leave it out", "%s is for --tls without --count", s.Source)
			}
		}
		return nil, nil
	}
	check := &tunnel.InterceptionCheck{NoDirect: values.Bool("tls-no-direct")}
	for _, words := range values.StringSlice("tls-unrelated") {
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
