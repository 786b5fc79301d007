package probe

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/terminal"
)

// unbroken stands for a space at which Fold must not break a line.
const unbroken = "\x1f"

// WriteText writes the try on one line. The error is the writer's.
func (t Try) WriteText(w io.Writer, style terminal.Style) error {
	words, colour := t.Verdict.Words, style.Bad
	if t.Verdict.ExitCode == tunnel.ExitOK {
		colour = style.Good
	}
	var phases []string
	for _, span := range t.Phases {
		if span.Finished && span.Phase != SpanRequest && span.Phase != SpanReplyComplete {
			phases = append(phases, strings.ReplaceAll(span.words()+" "+strings.TrimSpace(durationOf(span.Duration)), " ", unbroken))
		}
	}
	line := fmt.Sprintf("%4d  %12s  %s  %s", t.Number, durationOf(t.Total), colour.Paint(words), style.Faint.Paint(strings.Join(phases, ", ")))
	line = strings.ReplaceAll(style.Fold(strings.TrimRight(line, " "), "      "), unbroken, " ")
	_, err := io.WriteString(w, line+"\n")
	return err
}

// WriteText writes the summary without the tries. The error is the writer's.
func (r *Summary) WriteText(w io.Writer, style terminal.Style) error {
	var b strings.Builder
	tries := fmt.Sprintf("%d tries", r.Done)
	switch {
	case r.Cut:
		tries = fmt.Sprintf("interrupted after %d of %d tries", r.Done, r.Count)
	case r.Done == 1:
		tries = "1 try"
	}
	head := fmt.Sprintf("%s through %s: %s, %d open", style.Bold.Paint(r.Target.String()), strings.Join(r.Plan.Hops, ", then "), tries, r.Opened)
	b.WriteString("\n" + style.Fold(head, "  ") + "\n")
	label := len("failed")
	for _, p := range r.Phases {
		label = max(label, len(r.words(p)))
	}
	r.table(&b, label, style.Columns())
	for _, f := range r.Failures {
		row := fmt.Sprintf("  %s %5d  %s", style.Bad.Paint(fmt.Sprintf("%-*s", label, "failed")), f.Tries, f.Sample)
		b.WriteString(style.Fold(row, "    ") + "\n")
		if f.Kind == VerdictOwnLimit { // these say nothing about the proxy
			b.WriteString(style.Fold("    hint: "+f.Hint, "    ") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// words names a phase. The total says so if it is not of all tries.
func (r *Summary) words(p PhaseTimes) string {
	words := Span{Phase: p.Phase}.words()
	if p.Phase == phaseTotal && p.Tries < r.Done {
		words += ", if open"
	}
	return words
}

// tableForms lists the forms of the table, best first: its columns, and the digits
// behind the decimal point. A narrow terminal gets fewer of both.
var tableForms = []struct {
	columns  []string
	decimals int
}{
	{[]string{"min", "p50", "p90", "p99", "max"}, 3},
	{[]string{"min", "p50", "p90", "p99", "max"}, 2},
	{[]string{"min", "p50", "p90", "p99", "max"}, 1},
	{[]string{"p50", "p90", "max"}, 3},
	{[]string{"p50", "p90", "max"}, 2},
	{[]string{"p50", "max"}, 3},
	{[]string{"p50", "max"}, 2},
	{[]string{"p50", "max"}, 1},
	{[]string{"p50"}, 1},
}

// table adds a row for each phase, in the best form that fits the width.
func (r *Summary) table(b *strings.Builder, label, width int) {
	if len(r.Phases) == 0 {
		return
	}
	for i, form := range tableForms {
		lines := r.rows(label, form.columns, form.decimals)
		if len(lines[0]) <= width || i == len(tableForms)-1 {
			b.WriteString(strings.Join(lines, "\n") + "\n")
			return
		}
	}
}

// rows returns the lines of the table, all of the same width.
func (r *Summary) rows(label int, names []string, decimals int) []string {
	tries := max(len("tries"), len(strconv.Itoa(r.Done)))
	lines := []string{fmt.Sprintf("  %-*s %*s", label, "ms", tries, "tries")}
	for _, p := range r.Phases {
		lines = append(lines, fmt.Sprintf("  %-*s %*d", label, r.words(p), tries, p.Tries))
	}
	for _, name := range names {
		cells, widest := []string{name}, 0
		for _, p := range r.Phases {
			m := map[string]Micros{"min": p.Min, "p50": p.P50, "p90": p.P90, "p99": p.P99, "max": p.Max}[name]
			cells = append(cells, strconv.FormatFloat(float64(m)/1000, 'f', decimals, 64))
		}
		for _, c := range cells {
			widest = max(widest, len(c))
		}
		for i, c := range cells {
			lines[i] += fmt.Sprintf(" %*s", widest, c)
		}
	}
	return lines
}

// WriteJSON writes the Summary as one JSON document. The error is the writer's.
func (r *Summary) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
