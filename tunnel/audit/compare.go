package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"culvert/tunnel/internal/textfile"
	"culvert/tunnel/probe"
	"culvert/tunnel/terminal"
)

// ReadReport reads what WriteJSON wrote. The report may come from a stranger: its text
// is escaped as far as a terminal would act on it, and unknown grades and levels are
// an error. Errors are clauses about the file, as "it is empty".
func ReadReport(from io.Reader) (*Report, error) {
	r := &Report{}
	text, err := io.ReadAll(io.LimitReader(from, textfile.MaxSize))
	if err == nil {
		// The > of PowerShell writes UTF-16.
		if text, err = textfile.Decode(text); err != nil {
			return nil, err
		}
		err = json.NewDecoder(bytes.NewReader(text)).Decode(r)
	}
	var syntax *json.SyntaxError
	var path *fs.PathError
	switch {
	case errors.As(err, &path):
		return nil, path.Err
	case errors.Is(err, io.EOF):
		return nil, errors.New("it is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("its JSON breaks off")
	case errors.As(err, &syntax):
		return nil, errors.New("it is no JSON")
	case err != nil || r.Schema == 0 || r.Results == nil:
		return nil, errors.New("it is no audit's JSON")
	case r.Schema != Schema:
		return nil, fmt.Errorf("it has schema %d, and this culvert reads %d", r.Schema, Schema)
	}
	for _, text := range [...]*string{&r.By, &r.Proxy, &r.Target, &r.Moved, &r.Login, &r.Verdict} {
		*text = ascii(*text)
	}
	for i := range r.Identity {
		r.Identity[i] = ascii(r.Identity[i])
	}
	for i := range r.Results {
		if !r.Results[i].clean() {
			return nil, fmt.Errorf("it grades check %d by what is no grade", i+1)
		}
	}
	r.sum()
	return r, nil
}

// clean escapes the text of a result, and reports whether its level and its grade are
// known.
func (r *Result) clean() bool {
	for _, text := range [...]*string{&r.ID, &r.Group, &r.Title, &r.RFC, &r.Evidence} {
		*text = ascii(*text)
	}
	switch r.Level {
	case must, should, policyLevel:
	default:
		return false
	}
	switch r.Grade {
	case probe.Pass, probe.Warn, probe.Fail, probe.Skip:
		return true
	}
	return false
}

// Comparison is the difference between two audits: of two proxies, or of one at two
// times.
type Comparison struct {
	Schema      int          `json:"schema"` // Schema
	A           Compared     `json:"a"`
	B           Compared     `json:"b"`
	Differences []Difference `json:"differences"`
	Untried     int          `json:"untried"` // MUSTs that A passed and B had to skip
	Worse       bool         `json:"worse"`   // B breaks a MUST that A does not
}

// Void reports whether B could try no MUST though A could: that is no sign that B is
// better.
func (c *Comparison) Void() bool { return c.Untried > 0 && c.B.tried() == 0 }

// Compared describes one of the two audits.
type Compared struct {
	By      string    `json:"by,omitempty"`
	Proxy   string    `json:"proxy"`
	Started time.Time `json:"started"`
	Summary []Tally   `json:"summary"`
	verdict string
}

// Difference is a check that two audits grade differently. A grade is "" in an audit
// that has no such check, as it was made with --check or by another version.
type Difference struct {
	ID    string      `json:"id"`
	Title string      `json:"title"`
	Level probe.Level `json:"level"`
	A     probe.Grade `json:"a,omitempty"`
	B     probe.Grade `json:"b,omitempty"`
}

// Compare compares two audits.
func Compare(a, b *Report) *Comparison {
	c := &Comparison{Schema: Schema, A: a.compared(), B: b.compared(), Differences: []Difference{}}
	graded := map[string]probe.Grade{}
	for _, result := range b.Results {
		graded[result.ID] = result.Grade
	}
	for _, result := range a.Results {
		c.add(Difference{result.ID, result.Title, result.Level, result.Grade, graded[result.ID]})
		delete(graded, result.ID)
	}
	for _, result := range b.Results {
		if _, left := graded[result.ID]; left {
			c.add(Difference{result.ID, result.Title, result.Level, "", result.Grade})
		}
	}
	return c
}

// tried returns how many MUSTs the audit tried.
func (c Compared) tried() int {
	if len(c.Summary) == 0 {
		return 0
	}
	m := c.Summary[0]
	return m.Pass + m.Warn + m.Fail
}

// compared returns the description of a report.
func (r *Report) compared() Compared {
	return Compared{By: r.By, Proxy: r.Proxy, Started: r.Started, Summary: r.Summary, verdict: r.verdict()}
}

// add adds a check, unless both audits grade it the same.
func (c *Comparison) add(d Difference) {
	if d.A == d.B {
		return
	}
	c.Differences = append(c.Differences, d)
	c.Worse = c.Worse || d.Level == must && d.B == probe.Fail
	if d.Level == must && d.A == probe.Pass && d.B == probe.Skip {
		c.Untried++
	}
}

// WriteJSON writes the Comparison as one JSON document.
func (c *Comparison) WriteJSON(w io.Writer) error { return writeJSON(w, c) }

// WriteText writes the Comparison for a person.
func (c *Comparison) WriteText(w io.Writer, style terminal.Style) error {
	var b strings.Builder
	c.A.text(&b, "A")
	c.B.text(&b, "B")
	colour := map[probe.Grade]terminal.Colour{probe.Pass: style.Good, probe.Warn: style.Warn, probe.Fail: style.Bad, probe.Skip: style.Faint}
	grade := func(g probe.Grade) string {
		if g == "" {
			return "-   "
		}
		return colour[g].Paint(fmt.Sprintf("%-4s", g))
	}
	for _, d := range c.Differences {
		fmt.Fprintf(&b, "  %s  %s  %-24s  %-6s  %s\n", grade(d.A), grade(d.B), d.ID, d.Level, d.Title)
	}
	fmt.Fprintf(&b, "%s %s\n", style.Bold.Paint("verdict:"), c.words(style))
	_, err := io.WriteString(w, b.String())
	return err
}

// words returns the verdict.
func (c *Comparison) words(style terminal.Style) string {
	words := fmt.Sprintf("%d differ: B breaks no MUST that A does not", len(c.Differences))
	switch {
	case len(c.Differences) == 0:
		return "every check has the same grade"
	case c.Worse:
		words = style.Bad.Paint(fmt.Sprintf("%d differ: B breaks a MUST that A does not", len(c.Differences)))
	case c.Void():
		words = style.Bad.Paint(fmt.Sprintf("%d differ: B could try no MUST", len(c.Differences)))
	}
	if c.Untried > 0 {
		words += fmt.Sprintf("; %d that A passed were not tried in B", c.Untried)
	}
	return words
}

// text writes the line about one audit.
func (c Compared) text(b *strings.Builder, name string) {
	fmt.Fprintf(b, "%s: %s, %s", name, c.Proxy, c.Started.UTC().Format(time.DateTime))
	if c.By != "" {
		fmt.Fprintf(b, ", by %s", c.By)
	}
	fmt.Fprintf(b, ": %s\n", c.verdict)
}
