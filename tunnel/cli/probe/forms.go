package probe

import (
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/probe"
)

// forms are the flags that choose the form of the report; they exclude each other.
var forms = args.Names{"json", "hex", "raw"}

// oneForm refuses forms of the report that exclude each other, that would harm a
// terminal, or that the route does not allow. It also checks --save.
func oneForm(flags *args.Values, by tunnel.Route, terminal bool) error {
	var given []string
	for _, name := range forms {
		if flags.Bool(name) {
			given = append(given, "--"+name)
		}
	}
	saved := flags.IsSet("save")
	switch {
	case len(given) > 1:
		return args.Usagef("leave one of them out", "%s exclude each other", strings.Join(given, " and "))
	case flags.Bool("raw") && terminal:
		return args.Usagef("--raw | hexdump -C, or --hex", "--raw is not for a terminal: a proxy's bytes could take it over")
	case flags.IsSet("count") && (flags.Bool("hex") || flags.Bool("raw") || saved):
		return args.Usagef("leave it out", "%s is for a single exchange", append(given, "--save")[0])
	case saved && flags.String("save") == "":
		return args.Usagef("as in --save exchange.txtar", "--save names no file")
	case saved && flags.String("save") == "-":
		return args.Usagef("as in --save exchange.txtar", "--save goes to a file: stdout has the report")
	case saved && len(by.Hops) > 1 && speaksHTTP2(by):
		return args.Usagef("probe one of them alone, or by http:// or https://", "--save: %v", probe.ErrNoTranscript)
	}
	return nil
}

// speaksHTTP2 reports whether the scheme of a hop means HTTP/2.
func speaksHTTP2(by tunnel.Route) bool {
	for _, h := range by.Hops {
		if h.Scheme == tunnel.SchemeH2 || h.Scheme == tunnel.SchemeH2C {
			return true
		}
	}
	return false
}
