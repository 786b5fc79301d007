package audit

import (
	"fmt"
	"io"
	"strings"

	"culvert/tunnel/probe"
)

// WriteMarkdown writes the Report in Markdown, for a bug report: what was audited, a
// table, and the bytes behind each failure.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Audit of %s\n\n", cell(r.Proxy))
	for _, words := range r.about() {
		fmt.Fprintf(&b, "* %s\n", cell(words))
	}
	fmt.Fprintf(&b, "\n%s.\n\n| grade | check | level | section | |\n|---|---|---|---|---|\n", cell(r.verdict()))
	for _, result := range r.Results {
		words := result.Title
		if result.Evidence != "" {
			words += ": " + result.Evidence
		}
		grade := string(result.Grade)
		if result.Grade == probe.Fail {
			grade = "**fail**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", grade, result.ID, result.Level, shortRFC(result.RFC), cell(words))
	}
	for _, result := range r.Results {
		if result.Grade == probe.Fail && len(result.Sent)+len(result.Received) > 0 {
			fmt.Fprintf(&b, "\n### %s\n\n%s (%s, %s): %s\n\n", result.ID, cell(result.Title), result.Level, result.RFC, cell(result.Evidence))
			result.indented(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// indented writes the bytes behind a result as an indented block, which no content of
// theirs can end.
func (r *Result) indented(b *strings.Builder) {
	var bytes strings.Builder
	writeBytes(&bytes, ">", r.Sent, nil)
	writeBytes(&bytes, "<", r.Received, nil)
	for l := range strings.Lines(bytes.String()) {
		b.WriteString("    " + strings.TrimLeft(l, " "))
	}
}

// cell escapes text for a cell of a table.
func cell(text string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`").Replace(text)
}
