package audit

import (
	"encoding/xml"
	"fmt"
	"io"

	"culvert/tunnel/probe"
)

// junitSuite, junitCase and junitMessage are the elements of JUnit's XML.
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

// WriteJUnit writes the Report as JUnit's XML. A warning is a passed case with the
// evidence as its output.
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

// WriteJUnitError writes JUnit's XML for an audit that could not be made: one case, in
// error, with the reason why.
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
