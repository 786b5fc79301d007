package tunnel

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteText writes a try on one line.
func (t Try) WriteText(w io.Writer, style Style) error {
	words, dress := t.Verdict.Words, style.bad
	if t.Verdict.ExitCode == ExitOK {
		dress = style.good
	}
	var phases []string
	for _, span := range t.Phases {
		if span.Finished && span.Phase != SpanRequest && span.Phase != SpanReplyComplete {
			phases = append(phases, span.words()+" "+strings.TrimSpace(durationOf(span.Duration)))
		}
	}
	line := fmt.Sprintf("%4d  %12s  %s  %s", t.Number, durationOf(t.Total), dress(words), style.faint(strings.Join(phases, ", ")))
	_, err := io.WriteString(w, strings.TrimRight(line, " ")+"\n")
	return err
}

// WriteText writes the sums, without the tries.
func (r *SeriesReport) WriteText(w io.Writer, style Style) error {
	var b strings.Builder
	tries := "tries"
	if r.Done == 1 {
		tries = "try"
	}
	fmt.Fprintf(&b, "\n%s through %s: %d %s, %d open\n", style.bold(r.Target.String()), strings.Join(r.Plan.Hops, ", then "), r.Done, tries, r.Opened)
	if len(r.Phases) > 0 {
		fmt.Fprintf(&b, "  %-18s %6s %12s %12s %12s %12s %12s\n", "ms", "tries", "min", "p50", "p90", "p99", "max")
	}
	for _, p := range r.Phases {
		fmt.Fprintf(&b, "  %-18s %6d", Span{Phase: p.Phase}.words(), p.Tries)
		for _, m := range []Micros{p.Min, p.P50, p.P90, p.P99, p.Max} {
			fmt.Fprintf(&b, " %12.3f", float64(m)/1000)
		}
		b.WriteString("\n")
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "  %s %6d  %s\n", style.bad(fmt.Sprintf("%-18s", "failed")), f.Tries, f.Sample)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report as one JSON document.
func (r *SeriesReport) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
