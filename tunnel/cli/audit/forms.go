package audit

import (
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// OneForm refuses forms of probe's report that exclude each other, or harm, or
// cannot be had by that route: before anything is sent.
func OneForm(v args.Values, settings []args.Setting, by tunnel.Route, terminal bool) error {
	var given []string
	for _, name := range []string{"json", "hex", "raw"} {
		if v.Bool(name) {
			given = append(given, "--"+name)
		}
	}
	saved := args.Find(settings, "save").Source != ""
	switch {
	case len(given) > 1:
		return args.Usagef("leave one of them out", "%s exclude each other", strings.Join(given, " and "))
	case v.Bool("raw") && terminal:
		return args.Usagef("--raw | hexdump -C, or --hex", "--raw is not for a terminal: a proxy's bytes could take it over")
	case args.Find(settings, "count").Source != "" && (v.Bool("hex") || v.Bool("raw") || saved):
		return args.Usagef("leave it out", "%s is for a single exchange", append(given, "--save")[0])
	case saved && v.String("save") == "":
		return args.Usagef("as in --save exchange.txtar", "--save names no file")
	case saved && v.String("save") == "-":
		return args.Usagef("as in --save exchange.txtar", "--save goes to a file: stdout has the report")
	case saved && len(by.Hops) > 1 && speaksHTTP2(by):
		return args.Usagef("probe one of them alone, or by http:// or https://", "--save: %v", tunnel.ErrNoTranscript)
	}
	return nil
}

// speaksHTTP2 reports whether a hop of the route is sure to.
func speaksHTTP2(by tunnel.Route) bool {
	for _, h := range by.Hops {
		if h.Scheme == tunnel.SchemeH2 || h.Scheme == tunnel.SchemeH2C {
			return true
		}
	}
	return false
}
