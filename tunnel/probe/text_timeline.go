package probe

import (
	"fmt"
	"strings"
	"time"
)

// Bounds on the width of a bar, in columns.
const (
	minBar = 10
	maxBar = 100
)

// timelineText draws a timeline.
type timelineText struct {
	*reportText
	headings []string // a heading for each phase; nil = no headings
	label    int      // columns before the time
	bar      int      // columns of a bar; 0 = there is no room for one
	total    string   // the label of the last row
	end      Micros   // what the whole bar stands for
	longest  Micros   // the longest phase, which is highlighted
}

// timeline draws a bar for each phase, in its place and to scale, and says how long
// it took until the tunnel was open or had failed.
func (t *reportText) timeline(r *Report) {
	if len(r.Timeline) == 0 {
		return
	}
	t.heading("timeline")
	l := timelineText{reportText: t, headings: r.headings(), bar: minBar, end: 1, total: "no tunnel after", label: len("first tunnel byte")}
	if r.Tunnel != nil {
		l.total = "open after"
	}
	l.measure(r.Timeline)
	place := ""
	for i, s := range r.Timeline {
		if l.headings != nil && l.headings[i] != place {
			place = l.headings[i]
			l.line("%s", place)
		}
		l.row(s)
	}
	l.line("%-*s %10s", l.label, l.total, durationOf(openAfter(r.Timeline)))
}

// line adds a line, indented if there is room.
func (t *timelineText) line(format string, args ...any) {
	indent := "  "
	if t.bar == 0 {
		indent = ""
	}
	t.printf("%s", indent+fmt.Sprintf(format, args...))
}

// measure finds the scale, and the room for the bars.
func (t *timelineText) measure(spans []Span) {
	notes := 0
	for _, s := range spans {
		t.label = max(t.label, len(t.words(s)))
		if !s.ownWait() {
			t.end, t.longest = max(t.end, s.At+s.Duration), max(t.longest, s.Duration)
		}
		if s.note() != "" {
			notes = max(notes, len("  ")+len(s.note()))
		}
	}
	t.bar = min(t.Columns()-len("*   ")-t.label-len(" 123.456 ms  ||")-notes, maxBar)
	if t.bar >= minBar {
		return
	}
	t.bar, t.label = 0, len(t.total)
	for _, s := range spans {
		t.label = max(t.label, len(t.words(s)))
	}
}

// words names a phase, indented if there are headings.
func (t *timelineText) words(s Span) string {
	words := s.words()
	if t.bar == 0 {
		words = strings.NewReplacer("first ", "", "to the ", "to ").Replace(words)
	}
	if t.headings != nil {
		words = "  " + words
	}
	return words
}

// words names the phase for people.
func (s Span) words() string {
	return strings.ReplaceAll(strings.Replace(s.Phase, SpanSOCKSAuthentication, "socks-auth", 1), "-", " ")
}

func (t *timelineText) row(s Span) {
	colour := t.Faint
	switch {
	case s.ownWait():
	case !s.Finished:
		colour = t.Bad
	case s.Duration == t.longest:
		colour = t.Bold
	}
	if t.bar == 0 {
		t.line("%-*s %10s %s", t.label, t.words(s), durationOf(s.Duration), colour.Paint(s.note()))
		return
	}
	note := ""
	if s.note() != "" {
		note = "  " + colour.Paint(s.note())
	}
	// Spaces get no colour: some terminals would underline them.
	bar := bar(s, t.end, t.bar)
	drawn := strings.TrimSpace(bar)
	before, after, _ := strings.Cut(bar, drawn)
	t.line("%-*s %10s  |%s%s%s|%s", t.label, t.words(s), durationOf(s.Duration), before, colour.Paint(drawn), after, note)
}

// headings returns the heading of each phase in the timeline; nil if there is one
// hop, which was asked once.
func (r *Report) headings() []string {
	if len(r.Plan.Hops) < 2 && len(r.Exchanges) < 2 {
		return nil
	}
	asked, before := map[string]int{}, map[string]bool{} // how often so far; whether the next phase is of an earlier request
	for _, x := range r.Exchanges {
		asked[x.Hop]++
	}
	headings := make([]string, len(r.Timeline))
	heading := r.Plan.Hops[0]
	for i := len(headings) - 1; i >= 0; i-- { // backwards, since the steps that lead to a hop stand under its heading
		s := r.Timeline[i]
		switch {
		case s.Hop != "":
			if before[s.Hop] && s.Phase != SpanTLSProxy {
				asked[s.Hop]--
			}
			before[s.Hop] = s.Phase == SpanRequest || before[s.Hop] && s.Phase == SpanTLSProxy
			if heading = r.Plan.hop(s.Hop); asked[s.Hop] > 1 {
				heading += fmt.Sprintf(", request %d", asked[s.Hop])
			}
		case s.Phase == SpanTLSInside, s.Phase == SpanFirstTunnelByte, s.Phase == SpanClose:
			heading = r.Target.String() + " through the tunnel"
		}
		headings[i] = heading
	}
	return headings
}

// hop returns the URL of the named hop.
func (p *Plan) hop(name string) string {
	for _, url := range p.Hops {
		if strings.HasSuffix(url, "://"+name) {
			return url
		}
	}
	return name
}

// note says why a phase was not finished.
func (s Span) note() string {
	switch {
	case s.Finished:
		return ""
	case s.Phase == SpanFirstTunnelByte:
		return "none came"
	case s.Phase == SpanClose:
		return "kept open"
	case s.Phase == SpanConnect, s.Phase == SpanResolve, s.Phase == SpanTLSProxy, s.Phase == SpanTLSInside:
		return "failed"
	}
	return "never came"
}

// ownWait reports whether the span is as long as the Prober chose to wait. It would
// shrink all others if it set the scale.
func (s Span) ownWait() bool {
	return !s.Finished && (s.Phase == SpanClose || s.Phase == SpanFirstTunnelByte)
}

// openAfter returns when the tunnel was open or had failed.
func openAfter(spans []Span) (total Micros) {
	for _, s := range spans {
		if s.Phase != SpanClose && s.Phase != SpanFirstTunnelByte {
			total = max(total, s.At+s.Duration)
		}
	}
	return total
}

// bar draws a span on a scale of the given columns, the last of which stands for
// end: "=" for what took at least half a column, "-" for less, and ">" for what
// went on beyond the end.
func bar(s Span, end Micros, columns int) string {
	width := Micros(columns)
	from := min(int(s.At*width/end), columns-1)
	to := max(from+1, min(int((s.At+s.Duration)*width/end), columns))
	drawn := strings.Repeat("=", to-from)
	if 2*s.Duration*width < end {
		drawn = "-"
	}
	if s.At+s.Duration > end {
		drawn = drawn[1:] + ">"
	}
	return strings.Repeat(" ", from) + drawn + strings.Repeat(" ", columns-to)
}

// durationOf formats a duration in milliseconds or, from one second on, in seconds,
// with the decimal point in the same place.
func durationOf(m Micros) string {
	if d := m.Duration(); d >= time.Second {
		return fmt.Sprintf("%.3f s ", d.Seconds())
	}
	return fmt.Sprintf("%.3f ms", float64(m)/1000)
}
