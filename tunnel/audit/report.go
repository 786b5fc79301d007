package audit

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"culvert/tunnel"
)

// Schema is the number of the JSON form that Report has. It changes when a key
// goes or changes its meaning, not when one is added.
const Schema = 1

// Report is what came of an audit. Text in it is printable ASCII, and
// credentials are masked.
type Report struct {
	Schema   int           `json:"schema"`
	Started  time.Time     `json:"started"`
	Took     tunnel.Micros `json:"took_us"`
	Proxy    string        `json:"proxy"`                  // its URL, without credentials
	Target   string        `json:"target,omitempty"`       // what tunnels were opened to
	Moved    string        `json:"target_moved,omitempty"` // why it has this port, where another was tried first
	Identity []string      `json:"identity,omitempty"`
	Results  []Result      `json:"results"` // in the order in which they were tried
	Summary  []Tally       `json:"summary"` // by level
}

// Result is what came of one check.
type Result struct {
	ID       string           `json:"id"`
	Group    string           `json:"group"`
	Title    string           `json:"title"`
	RFC      string           `json:"rfc"`
	Level    tunnel.Level     `json:"level"`
	Grade    tunnel.Grade     `json:"grade"`
	Evidence string           `json:"evidence,omitempty"` // for skip, the reason
	Sent     tunnel.WireBytes `json:"sent,omitempty"`     // the first bytes of what a warning or failure rests on
	Received tunnel.WireBytes `json:"received,omitempty"`
	Took     tunnel.Micros    `json:"took_us"`
}

// Tally counts the grades of one level.
type Tally struct {
	Level tunnel.Level `json:"level"`
	Pass  int          `json:"pass"`
	Warn  int          `json:"warn"`
	Fail  int          `json:"fail"`
	Skip  int          `json:"skip"`
}

func micros(d time.Duration) tunnel.Micros { return tunnel.Micros(d.Microseconds()) }

func (r *Report) sum() {
	r.Summary = []Tally{{Level: must}, {Level: should}, {Level: policy}}
	for _, result := range r.Results {
		for i := range r.Summary {
			if s := &r.Summary[i]; s.Level == result.Level {
				switch result.Grade {
				case tunnel.Pass:
					s.Pass++
				case tunnel.Warn:
					s.Warn++
				case tunnel.Fail:
					s.Fail++
				case tunnel.Skip:
					s.Skip++
				}
			}
		}
	}
}

// Failed reports whether a MUST is broken.
func (r *Report) Failed() bool {
	for _, result := range r.Results {
		if result.Level == must && result.Grade == tunnel.Fail {
			return true
		}
	}
	return false
}

// Inconclusive reports that there were MUSTs to be tried, and none could be.
func (r *Report) Inconclusive() bool {
	m := r.Summary[0]
	return m.Skip > 0 && m.Pass+m.Warn+m.Fail == 0
}

// verdict is the whole in one line.
func (r *Report) verdict() string {
	m, s, p := r.Summary[0], r.Summary[1], r.Summary[2]
	words := fmt.Sprintf("%d of %d MUSTs, %d of %d SHOULDs, %d of %d of what is good to have", m.Pass, m.Pass+m.Warn+m.Fail, s.Pass, s.Pass+s.Warn+s.Fail, p.Pass, p.Pass+p.Warn+p.Fail)
	if skipped := m.Skip + s.Skip + p.Skip; skipped > 0 {
		words += fmt.Sprintf("; %d skipped", skipped)
	}
	return words
}

// WriteText writes the Report as a graded table for a person.
func (r *Report) WriteText(w io.Writer, style tunnel.Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "audit of %s\n", dress(style.Bold, r.Proxy))
	for _, words := range r.Identity {
		fmt.Fprintf(&b, "  %s\n", words)
	}
	if r.Target != "" {
		moved := r.Moved
		if moved != "" {
			moved = ", as " + moved
		}
		fmt.Fprintf(&b, "  tunnels to %s%s\n", r.Target, moved)
	}
	skipped, reasons := map[string][]string{}, []string(nil)
	for _, g := range groups {
		heading := "\n" + dress(style.Bold, g.title) + "\n"
		for _, result := range r.Results {
			if result.Group != g.name {
				continue
			}
			if result.Grade == tunnel.Skip {
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
		fmt.Fprintf(&b, "\n%s\n", dress(style.Bold, "skipped"))
	}
	for _, reason := range reasons {
		fmt.Fprintf(&b, "  %s\n      %s\n", reason, dress(style.Faint, strings.Join(skipped[reason], ", ")))
	}
	verdict := dress(style.Good, r.verdict())
	if r.Failed() {
		verdict = dress(style.Bad, r.verdict())
	}
	fmt.Fprintf(&b, "\n%s %s\n", dress(style.Bold, "verdict:"), verdict)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Result) text(b *strings.Builder, style tunnel.Style) {
	colour := map[tunnel.Grade]func(string) string{tunnel.Pass: style.Good, tunnel.Warn: style.Warn, tunnel.Fail: style.Bad}[r.Grade]
	fmt.Fprintf(b, "  %s  %-24s  %-6s  %-15s  %s\n", dress(colour, string(r.Grade)), r.ID, r.Level, shortRFC(r.RFC), r.Title)
	if r.Evidence != "" {
		fmt.Fprintf(b, "        %s\n", r.Evidence)
	}
	if r.Grade == tunnel.Fail {
		shown(b, ">", r.Sent, style.Sent)
		shown(b, "<", r.Received, style.Received)
	}
}

// maxLines of the bytes behind a failure are shown; JSON has them all.
const maxLines = 6

func shown(b *strings.Builder, mark string, bytes tunnel.WireBytes, colour func(string) string) {
	lines := strings.SplitAfter(string(bytes), "\n")
	for i, l := range lines {
		switch {
		case l == "":
		case i == maxLines:
			fmt.Fprintf(b, "        %s …\n", mark)
			return
		default:
			text, _ := tunnel.WireBytes(l[:min(len(l), 160)]).MarshalText()
			fmt.Fprintf(b, "        %s\n", dress(colour, mark+" "+string(text)))
		}
	}
}

func dress(f func(string) string, s string) string {
	if f == nil || s == "" {
		return s
	}
	return f(s)
}

// shortRFC is a section as a table has room for it: "9110 9.3.6".
func shortRFC(rfc string) string {
	return strings.Replace(strings.TrimPrefix(rfc, "RFC "), ", section", "", 1)
}

// WriteJSON writes the Report as one JSON document.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// ReadReport reads what WriteJSON wrote.
func ReadReport(from io.Reader) (*Report, error) {
	r := &Report{}
	if err := json.NewDecoder(from).Decode(r); err != nil {
		return nil, fmt.Errorf("it is no audit's JSON: %w", err)
	}
	if r.Schema != Schema || len(r.Summary) != 3 {
		return nil, fmt.Errorf("it is no audit's JSON of schema %d", Schema)
	}
	return r, nil
}

// WriteMarkdown writes the Report as a table in Markdown.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Audit of %s\n\n%s.\n\n| grade | check | level | section | |\n|---|---|---|---|---|\n", cell(r.Proxy), cell(r.verdict()))
	for _, result := range r.Results {
		words := result.Title
		if result.Evidence != "" {
			words += ": " + result.Evidence
		}
		grade := string(result.Grade)
		if result.Grade == tunnel.Fail {
			grade = "**fail**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", grade, result.ID, result.Level, shortRFC(result.RFC), cell(words))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell keeps text within a table's cell.
func cell(text string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`").Replace(text)
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the Report as JUnit's XML. A warning is a pass with its words
// as output.
func (r *Report) WriteJUnit(w io.Writer) error {
	seconds := func(m tunnel.Micros) string { return fmt.Sprintf("%.3f", m.Duration().Seconds()) }
	suite := junitSuite{Name: "culvert audit of " + r.Proxy, Tests: len(r.Results), Time: seconds(r.Took)}
	for _, result := range r.Results {
		c := junitCase{Class: "audit." + result.Group, Name: result.ID, Time: seconds(result.Took)}
		words := fmt.Sprintf("%s (%s, %s): %s", result.Title, result.Level, result.RFC, result.Evidence)
		switch {
		case result.Grade == tunnel.Fail:
			sent, _ := result.Sent.MarshalText()
			received, _ := result.Received.MarshalText()
			c.Failure = &junitMessage{words, fmt.Sprintf("sent: %s\nreceived: %s", sent, received)}
			suite.Failures++
		case result.Grade == tunnel.Skip:
			c.Skipped = &junitMessage{Message: words}
			suite.Skipped++
		case result.Grade != tunnel.Pass:
			c.Out = words
		}
		suite.Cases = append(suite.Cases, c)
	}
	out, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, out)
	return err
}

// WriteList writes all checks there are.
func WriteList(w io.Writer, style tunnel.Style) error {
	var b strings.Builder
	n := 0
	for _, g := range groups {
		fmt.Fprintf(&b, "%s: %s\n", dress(style.Bold, g.name), g.title)
		for _, c := range g.checks {
			fmt.Fprintf(&b, "  %-24s  %-6s  %-15s  %s\n", c.id, c.level, shortRFC(c.rfc), c.title)
			n++
		}
	}
	fmt.Fprintf(&b, "%d checks\n", n)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteComparison writes where two audits differ: of two proxies, or of one at
// two times. same reports that they do nowhere.
func WriteComparison(w io.Writer, style tunnel.Style, a, b *Report) (same bool, err error) {
	var out strings.Builder
	fmt.Fprintf(&out, "A: %s, %s: %s\nB: %s, %s: %s\n", a.Proxy, a.Started.Format(time.DateTime), a.verdict(), b.Proxy, b.Started.Format(time.DateTime), b.verdict())
	graded := map[string]tunnel.Grade{}
	for _, result := range b.Results {
		graded[result.ID] = result.Grade
	}
	same = true
	colour := map[tunnel.Grade]func(string) string{tunnel.Pass: style.Good, tunnel.Warn: style.Warn, tunnel.Fail: style.Bad, tunnel.Skip: style.Faint}
	row := func(id string, level tunnel.Level, was, is tunnel.Grade, title string) {
		if was == is {
			return
		}
		same = false
		one, other := dress(colour[was], fmt.Sprintf("%-4s", was)), dress(colour[is], fmt.Sprintf("%-4s", is))
		fmt.Fprintf(&out, "  %s  %s  %-24s  %-6s  %s\n", one, other, id, level, title)
	}
	for _, result := range a.Results {
		is, ok := graded[result.ID]
		if !ok {
			is = "-"
		}
		row(result.ID, result.Level, result.Grade, is, result.Title)
		delete(graded, result.ID)
	}
	for _, result := range b.Results {
		if _, left := graded[result.ID]; left {
			row(result.ID, result.Level, "-", result.Grade, result.Title)
		}
	}
	if same {
		out.WriteString("  every check has the same grade\n")
	}
	_, err = io.WriteString(w, out.String())
	return same, err
}
