package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/probe"
	"culvert/tunnel/terminal"
)

// Schema is the version of the JSON form of a Report, a Comparison and a SurveyReport.
// It changes when a key is removed or changes its meaning, not when one is added.
const Schema = 1

// Report is the result of an audit. Its text is printable ASCII, and credentials in it
// are masked.
type Report struct {
	Schema   int          `json:"schema"`
	Started  time.Time    `json:"started"`
	Took     probe.Micros `json:"took_us"`
	By       string       `json:"by,omitempty"`           // the program that made the audit, NAME/VERSION
	Proxy    string       `json:"proxy"`                  // its URL, without credentials
	Target   string       `json:"target,omitempty"`       // what tunnels were opened to
	Moved    string       `json:"target_moved,omitempty"` // why Target has this port, if another was tried first
	Login    string       `json:"login,omitempty"`        // the scheme by which the proxy took the credentials
	Refused  int          `json:"refused,omitempty"`      // the status by which the proxy refused a tunnel to Target
	Identity []string     `json:"identity,omitempty"`
	Results  []Result     `json:"results"` // in the order of the checks
	Summary  []Tally      `json:"summary"` // by level
	Verdict  string       `json:"verdict,omitempty"`
	ExitCode int          `json:"exit_code"` // tunnel.ExitCheck if a MUST failed; that of a single exchange if no MUST could be tried
}

// Result is the result of one check.
type Result struct {
	ID       string           `json:"id"`
	Group    string           `json:"group"`
	Title    string           `json:"title"`
	RFC      string           `json:"rfc"`
	Level    probe.Level      `json:"level"`
	Grade    probe.Grade      `json:"grade"`
	Evidence string           `json:"evidence,omitempty"` // for a skipped check, the reason
	Sent     tunnel.WireBytes `json:"sent,omitempty"`     // the first bytes behind a warning or a failure
	Received tunnel.WireBytes `json:"received,omitempty"`
	Took     probe.Micros     `json:"took_us"`
}

// Tally counts the grades of one level.
type Tally struct {
	Level probe.Level `json:"level"`
	Pass  int         `json:"pass"`
	Warn  int         `json:"warn"`
	Fail  int         `json:"fail"`
	Skip  int         `json:"skip"`
}

func micros(d time.Duration) probe.Micros { return probe.Micros(d.Microseconds()) }

// sum fills in Summary.
func (r *Report) sum() {
	r.Summary = []Tally{{Level: must}, {Level: should}, {Level: policyLevel}}
	for _, result := range r.Results {
		for i := range r.Summary {
			if s := &r.Summary[i]; s.Level == result.Level {
				switch result.Grade {
				case probe.Pass:
					s.Pass++
				case probe.Warn:
					s.Warn++
				case probe.Fail:
					s.Fail++
				case probe.Skip:
					s.Skip++
				}
			}
		}
	}
}

// Failed reports whether a MUST is broken.
func (r *Report) Failed() bool {
	for _, result := range r.Results {
		if result.Level == must && result.Grade == probe.Fail {
			return true
		}
	}
	return false
}

// Inconclusive reports whether there were MUSTs to be tried and none could be.
func (r *Report) Inconclusive() bool {
	m := r.Summary[0]
	return m.Skip > 0 && m.Pass+m.Warn+m.Fail == 0
}

// verdict returns the result in one line: how much of what could be tried passed.
func (r *Report) verdict() string {
	var words []string
	skipped := 0
	for i, t := range r.Summary {
		skipped += t.Skip
		tried := t.Pass + t.Warn + t.Fail
		if tried == 0 {
			continue
		}
		sum := fmt.Sprintf("%d of %d %s", t.Pass, tried, [...]string{"MUSTs", "SHOULDs", "of what is good to have"}[i])
		if len(words) == 0 {
			sum += " passed"
		}
		if t.Fail > 0 {
			sum += fmt.Sprintf(" (%d failed)", t.Fail)
		}
		words = append(words, sum)
	}
	if len(words) == 0 {
		words = []string{"nothing could be tried"}
	}
	if skipped > 0 {
		return fmt.Sprintf("%s; %d skipped", strings.Join(words, ", "), skipped)
	}
	return strings.Join(words, ", ")
}

// about returns lines that say what was audited, when, and by what.
func (r *Report) about() []string {
	lines := slices.Clone(r.Identity)
	if r.Target != "" {
		moved := r.Moved
		if moved != "" {
			moved = ", as " + moved
		}
		lines = append(lines, fmt.Sprintf("tunnels to %s%s", r.Target, moved))
	}
	if r.Login != "" {
		lines = append(lines, "logged in by "+r.Login)
	}
	by := ""
	if r.By != "" {
		by = " by " + r.By
	}
	return append(lines, fmt.Sprintf("audited%s at %s UTC", by, r.Started.UTC().Format(time.DateTime)))
}

// WriteText writes the Report as a graded table, for a person.
func (r *Report) WriteText(w io.Writer, style terminal.Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "audit of %s\n", style.Bold.Paint(r.Proxy))
	for _, words := range r.about() {
		fmt.Fprintln(&b, style.Fold("  "+words, "    "))
	}
	skipped, reasons := map[string][]string{}, []string(nil)
	for _, g := range groups {
		heading := "\n" + style.Bold.Paint(g.title) + "\n"
		for _, result := range r.Results {
			if result.Group != g.name {
				continue
			}
			if result.Grade == probe.Skip {
				if skipped[result.Evidence] == nil {
					reasons = append(reasons, result.Evidence)
				}
				skipped[result.Evidence] = append(skipped[result.Evidence], result.ID)
				continue
			}
			b.WriteString(heading)
			heading = ""
			result.text(&b, style)
		}
	}
	if len(reasons) > 0 {
		fmt.Fprintf(&b, "\n%s\n", style.Bold.Paint("skipped"))
	}
	for _, reason := range reasons {
		fmt.Fprintln(&b, style.Fold("  "+reason, "    "))
		fmt.Fprintln(&b, style.Fold("      "+style.Faint.Paint(strings.Join(skipped[reason], ", ")), "      "))
	}
	verdict := style.Good.Paint(r.verdict())
	if r.Failed() {
		verdict = style.Bad.Paint(r.verdict())
	}
	fmt.Fprintln(&b, "\n"+style.Fold(style.Bold.Paint("verdict:")+" "+verdict, "  "))
	_, err := io.WriteString(w, b.String())
	return err
}

// hang is the indentation of what belongs to a result.
const hang = "        "

// text writes the row of a result, its evidence, and the bytes behind a failure.
func (r *Result) text(b *strings.Builder, style terminal.Style) {
	colour := map[probe.Grade]terminal.Colour{probe.Pass: style.Good, probe.Warn: style.Warn, probe.Fail: style.Bad}[r.Grade]
	row := fmt.Sprintf("  %s  %-24s  %-6s  %-15s", colour.Paint(string(r.Grade)), r.ID, r.Level, shortRFC(r.RFC))
	fmt.Fprintln(b, style.FoldRow(row, r.Title, hang))
	if r.Evidence != "" {
		fmt.Fprintln(b, style.Fold(hang+r.Evidence, hang))
	}
	if r.Grade == probe.Fail {
		writeBytes(b, ">", r.Sent, style.Sent)
		writeBytes(b, "<", r.Received, style.Received)
	}
}

// maxLines is how many lines of the bytes behind a failure are shown. JSON has them
// all.
const maxLines = 6

// writeBytes writes bytes as escaped lines, each behind the mark.
func writeBytes(b *strings.Builder, mark string, bytes tunnel.WireBytes, colour terminal.Colour) {
	lines := strings.SplitAfter(string(bytes), "\n")
	for i, l := range lines {
		switch {
		case l == "":
		case i == maxLines:
			fmt.Fprintf(b, "        %s …\n", mark)
			return
		default:
			text, _ := tunnel.WireBytes(l[:min(len(l), 160)]).MarshalText()
			fmt.Fprintf(b, "        %s\n", colour.Paint(mark+" "+string(text)))
		}
	}
}

// shortRFC returns a section in the short form for a table, as "9110 9.3.6".
func shortRFC(rfc string) string {
	return strings.Replace(strings.TrimPrefix(rfc, "RFC "), ", section", "", 1)
}

// WriteJSON writes the Report as one JSON document.
func (r *Report) WriteJSON(w io.Writer) error {
	return writeJSON(w, r)
}

// writeJSON writes v as one JSON document.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
