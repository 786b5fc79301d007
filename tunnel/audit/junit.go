package audit

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"culvert/tunnel/probe"
)

// WriteMarkdown writes the Report in Markdown, for an issue: what was audited, a
// table, and for each check that failed the bytes that say so.
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

// indented writes the bytes as a block that nothing in them can end.
func (r *Result) indented(b *strings.Builder) {
	var bytes strings.Builder
	shown(&bytes, ">", r.Sent, nil)
	shown(&bytes, "<", r.Received, nil)
	for l := range strings.Lines(bytes.String()) {
		b.WriteString("    " + strings.TrimLeft(l, " "))
	}
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
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Error   *junitMessage `xml:"error,omitempty"`
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
	seconds := func(m probe.Micros) string { return fmt.Sprintf("%.3f", m.Duration().Seconds()) }
	suite := junitSuite{Name: "culvert audit of " + r.Proxy, Tests: len(r.Results), Time: seconds(r.Took)}
	for _, result := range r.Results {
		c := junitCase{Class: "audit." + result.Group, Name: result.ID, Time: seconds(result.Took)}
		words := fmt.Sprintf("%s (%s, %s): %s", result.Title, result.Level, result.RFC, result.Evidence)
		switch {
		case result.Grade == probe.Fail:
			sent, _ := result.Sent.MarshalText()
			received, _ := result.Received.MarshalText()
			c.Failure = &junitMessage{words, fmt.Sprintf("sent: %s\nreceived: %s", sent, received)}
			suite.Failures++
		case result.Grade == probe.Skip:
			c.Skipped = &junitMessage{Message: words}
			suite.Skipped++
		case result.Grade != probe.Pass:
			c.Out = words
		}
		suite.Cases = append(suite.Cases, c)
	}
	return suite.write(w)
}

// WriteJUnitError writes JUnit's XML for an audit that could not be made: one
// case, in error.
func WriteJUnitError(w io.Writer, proxy, why string) error {
	words := ascii(why)
	suite := junitSuite{Name: "culvert audit of " + proxy, Tests: 1, Errors: 1, Time: "0.000",
		Cases: []junitCase{{Class: "audit", Name: "audit", Time: "0.000", Error: &junitMessage{words, words}}}}
	return suite.write(w)
}

func (s *junitSuite) write(w io.Writer) error {
	out, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, out)
	return err
}
