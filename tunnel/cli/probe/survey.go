package probe

import (
	"context"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/audit"
	"culvert/tunnel/cli/args"
)

// survey is --ports and --reach: it asks the proxy for each target and writes the
// report. failed reports that a target opened and that this does harm.
func (c *Audit) survey(ctx context.Context, a *audit.Auditor, targets []audit.SurveyTarget, harmful bool) (failed bool, err error) {
	started := time.Now()
	if targets, err = a.Survey(ctx, targets); err != nil {
		return false, err
	}
	r := a.SurveyReport(started, targets, harmful)
	if c.Flags.Bool("json") {
		err = r.WriteJSON(c.Out)
	} else {
		err = r.WriteText(c.Out, c.Style)
	}
	if r.Why != "" && err == nil {
		err = &args.Error{Message: r.Why, Hint: "look with culvert probe HOST:PORT what it says; credentials go into --proxy http://USER:PASSWORD@HOST:PORT", ExitCode: r.ExitCode}
	}
	return r.ExitCode == tunnel.ExitCheck, err
}

// hostOf returns a target's host as it stands in an authority, an IPv6 address in
// brackets.
func hostOf(a tunnel.Authority) string {
	text := a.String()
	return text[:strings.LastIndexByte(text, ':')]
}
