package audit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"culvert/tunnel/probe"
	"culvert/tunnel/terminal"
)

// A file that is not an audit is refused with a reason, whatever it contains.
func TestReadReportRefuses(t *testing.T) {
	const head = `{"schema": 1, "results": [{"id": "x", "level": "MUST", "grade": `
	for doc, want := range map[string]string{
		"":                               "it is empty",
		`{"schema": 1, "res`:             "its JSON breaks off",
		"<xml/>":                         "it is no JSON",
		"[]":                             "it is no audit's JSON",
		`{"schema": 1, "exchanges": []}`: "it is no audit's JSON",
		`{"schema": 2, "results": []}`:   "it has schema 2, and this culvert reads 1",
		head + `"great"}]}`:              "it grades check 1 by what is no grade",
		head + `"pass"}, {"id": "y"}]}`:  "it grades check 2 by what is no grade",
	} {
		if _, err := ReadReport(strings.NewReader(doc)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", doc, err, want)
		}
	}
}

// A report is read as the > of PowerShell writes it.
func TestReadReportInUTF16(t *testing.T) {
	doc := "\xff\xfe"
	for _, c := range []byte(`{"schema": 1, "proxy": "p", "results": []}`) {
		doc += string([]byte{c, 0})
	}
	if r, err := ReadReport(strings.NewReader(doc)); err != nil || r.Proxy != "p" {
		t.Errorf("%+v, %v", r, err)
	}
}

// A report may come from a stranger: a terminal acts on nothing in it.
func TestHostileReportsAreCompared(t *testing.T) {
	read := func(grade string) *Report {
		r, err := ReadReport(strings.NewReader(`{"schema": 1, "by": "\u001b[2J", "proxy": "p\u001b]0;t\u0007", "identity": ["\u009b2J"],
			"results": [{"id": "a\u001b[31m", "title": "t\u001b[2J", "rfc": "\u001b", "evidence": "\u001b", "level": "MUST", "grade": "` + grade + `"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	was, is := read("pass"), read("fail")
	var out bytes.Buffer
	Compare(was, is).WriteText(&out, terminal.Style{})
	is.WriteText(&out, terminal.Style{})
	if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 {
		t.Errorf("%q", out.String()[i:])
	}
	if !strings.Contains(out.String(), `t\x1b[2J`) || !strings.Contains(out.String(), "B breaks a MUST that A does not") {
		t.Errorf("%s", &out)
	}
}

// A check that only one of two audits has is a difference. It makes B worse only as a
// MUST that fails.
func TestCompareOtherChecks(t *testing.T) {
	report := func(results ...Result) *Report {
		r := &Report{Schema: Schema, Results: results}
		r.sum()
		return r
	}
	a := report(Result{ID: "gone", Level: must, Grade: probe.Fail})
	for _, tt := range []struct {
		level probe.Level
		grade probe.Grade
		worse bool
	}{{must, probe.Fail, true}, {must, probe.Warn, false}, {should, probe.Fail, false}, {must, probe.Skip, false}} {
		c := Compare(a, report(Result{ID: "new", Level: tt.level, Grade: tt.grade}))
		if len(c.Differences) != 2 || c.Differences[0].B != "" || c.Differences[1].A != "" || c.Worse != tt.worse {
			t.Errorf("%s %s: worse %t, %+v", tt.level, tt.grade, c.Worse, c.Differences)
		}
	}
}

// The verdict counts what was tried, and leaves out levels of which nothing was.
func TestVerdictWords(t *testing.T) {
	for want, results := range map[string][]Result{
		"nothing could be tried; 1 skipped":              {{Level: must, Grade: probe.Skip}},
		"1 of 3 MUSTs passed (1 failed)":                 {{Level: must, Grade: probe.Pass}, {Level: must, Grade: probe.Fail}, {Level: must, Grade: probe.Warn}},
		"1 of 1 SHOULDs passed":                          {{Level: should, Grade: probe.Pass}},
		"0 of 1 of what is good to have passed":          {{Level: policyLevel, Grade: probe.Warn}},
		"1 of 1 MUSTs passed, 0 of 1 SHOULDs (1 failed)": {{Level: must, Grade: probe.Pass}, {Level: should, Grade: probe.Fail}},
	} {
		r := &Report{Results: results}
		if r.sum(); r.verdict() != want {
			t.Errorf("%q, want %q", r.verdict(), want)
		}
	}
}

// Evidence is in words, without Go types or "<nil>".
func TestEvidenceIsInWords(t *testing.T) {
	for want, err := range map[string]error{
		`"ab\n"`: nil,
		`"ab\n", then: the connection was closed`: io.ErrUnexpectedEOF,
		`"ab\n", then: nothing came in time`:      os.ErrDeadlineExceeded,
		`"ab\n", then: odd`:                       errors.New("odd"),
	} {
		if got := describeRead([]byte("ab\n"), err); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	mangler := bad{relay: mangledDown}
	r := auditOf(t, "http://"+mangler.start(t), nil, "tunnel-greeting", "tunnel-target-eof", "plain")
	for _, result := range r.Results {
		if strings.Contains(result.Evidence, "nil>") || strings.Contains(result.Evidence, "[") {
			t.Errorf("%s: %s", result.ID, result.Evidence)
		}
	}
}

// An audit that could try nothing is not better than an earlier one.
func TestCompareWithAnAuditThatTriedNothing(t *testing.T) {
	graded := func(a, b probe.Grade) *Report {
		r := &Report{Schema: Schema, Results: []Result{{ID: "x", Level: must, Grade: a}, {ID: "y", Level: must, Grade: b}}}
		r.sum()
		return r
	}
	for _, tt := range []struct {
		a, b *Report
		void bool
		want string
	}{
		{graded("pass", "pass"), graded("skip", "skip"), true, "2 differ: B could try no MUST; 2 that A passed were not tried in B"},
		{graded("pass", "pass"), graded("pass", "skip"), false, "1 differ: B breaks no MUST that A does not; 1 that A passed were not tried in B"},
		{graded("pass", "pass"), graded("fail", "skip"), false, "2 differ: B breaks a MUST that A does not; 1 that A passed were not tried in B"},
		{graded("skip", "skip"), graded("skip", "skip"), false, "every check has the same grade"},
		{graded("skip", "fail"), graded("skip", "skip"), false, "1 differ: B breaks no MUST that A does not"},
	} {
		c := Compare(tt.a, tt.b)
		if got := c.words(terminal.Style{}); c.Void() != tt.void || got != tt.want {
			t.Errorf("void %t, %q, want %q", c.Void(), got, tt.want)
		}
	}
}
