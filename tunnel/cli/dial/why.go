package dial

import (
	"fmt"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/route"
)

// Why is dial --why: it returns the route to a target and the reasons for it, a
// line for each.
func Why(line *args.Line, chooser *route.Chooser) (string, error) {
	target, err := tunnel.ParseTarget(line.String("why"))
	if err != nil {
		return "", line.Mistake("why", err, "as in --why example.com:443")
	}
	if len(line.Args) > 0 {
		return "", args.Usagef("leave it out", "unexpected argument %q: --why has its target", line.Args[0])
	}
	plan, err := chooser.Plan(target)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	add := func(name, text string) { fmt.Fprintf(&b, "%-7s %s\n", name, args.Printable(text)) }
	add("target", target.String())
	add("way", plan.Client.Route.String())
	for _, r := range plan.Client.Or {
		add("or", r.String())
	}
	add("why", plan.Why)
	for _, note := range plan.Notes {
		add("note", note)
	}
	return b.String(), nil
}
