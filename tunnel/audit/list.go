package audit

import (
	"fmt"
	"io"
	"strings"

	"culvert/tunnel/probe"
	"culvert/tunnel/terminal"
)

// WriteList writes all checks, for a person.
func WriteList(w io.Writer, style terminal.Style) error {
	var b strings.Builder
	n := 0
	for _, g := range groups {
		fmt.Fprintf(&b, "%s: %s\n", style.Bold.Paint(g.name), g.title)
		for _, c := range g.checks {
			fmt.Fprintf(&b, "  %-24s  %-6s  %-15s  %s\n", c.id, c.level, shortRFC(c.rfc), c.title)
			n++
		}
	}
	fmt.Fprintf(&b, "%d checks\n", n)
	_, err := io.WriteString(w, b.String())
	return err
}

// listedCheck is a check in the list for programs.
type listedCheck struct {
	ID    string      `json:"id"`
	Group string      `json:"group"`
	Title string      `json:"title"`
	RFC   string      `json:"rfc"`
	Level probe.Level `json:"level"`
}

// WriteListJSON writes all checks as one JSON document.
func WriteListJSON(w io.Writer) error {
	list := struct {
		Schema int           `json:"schema"`
		Checks []listedCheck `json:"checks"`
	}{Schema: Schema}
	for _, g := range groups {
		for _, c := range g.checks {
			list.Checks = append(list.Checks, listedCheck{c.id, g.name, c.title, c.rfc, c.level})
		}
	}
	return writeJSON(w, list)
}
