package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/audit"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/terminal"
)

// Audit is what probe does by --audit, --list, --compare, --ports or --reach instead of
// a single exchange. Flags, Plan and Out are required.
type Audit struct {
	Flags    *args.Values
	Args     []string // the arguments of probe
	Plan     func(target tunnel.Authority) (*route.Plan, error)
	Out      io.Writer // gets the results
	Style    terminal.Style
	Progress *Progress // nil = not shown

	Planned func(*route.Plan, tunnel.Authority) // called once the plan is made; nil = not called
	Say     func(words string)                  // called as each check begins, instead of Progress; nil = not called
}

// modes are the flags that ask for an Audit, and extras those that say how to do
// --audit.
var (
	modes  = args.Names{"audit", "list", "compare", "ports", "reach"}
	extras = args.Names{"check", "audit-idle", "audit-slow", "junit", "markdown", "target-listen", "target-announce"}
)

// singles are the flags of a single exchange. An Audit refuses them: its requests have
// the fields, and its tunnels the TLS, that each check needs and no others.
var singles = args.Names{"send", "wait", "hex", "raw", "save", "count", "interval", "parallel", "header", "show-secrets",
	"tls", "tls-server-name", "tls-alpn", "tls-cacert", "tls-insecure", "tls-no-direct", "tls-unrelated"}

// Wanted reports whether the flags ask for an Audit. An extra from the environment does
// not: it counts only with --audit.
func (c *Audit) Wanted() bool {
	return slices.ContainsFunc(modes, c.set) || slices.ContainsFunc(extras, c.typed)
}

// Run does what the flags ask for. failed reports that the exit code is
// tunnel.ExitCheck. The error is an *args.Error, or that of a proxy that cannot be
// reached.
func (c *Audit) Run(ctx context.Context) (failed bool, err error) {
	if err := c.check(); err != nil {
		return false, err
	}
	switch {
	case c.Flags.Bool("list"):
		if c.Flags.Bool("json") {
			return false, audit.WriteListJSON(c.Out)
		}
		return false, audit.WriteList(c.Out, c.Style)
	case c.Flags.Bool("compare"):
		return c.compare()
	}
	auditor, target, err := c.auditor()
	if err != nil {
		return false, err
	}
	switch {
	case c.Flags.Bool("audit"):
		return c.audit(ctx, auditor)
	case c.Flags.Bool("reach"):
		last := auditor.Client.Route.Hops[len(auditor.Client.Route.Hops)-1]
		return c.survey(ctx, auditor, audit.Reachable(last.Proxy), true)
	}
	ports, err := audit.ParsePorts(c.Flags.String("ports"))
	if err != nil {
		return false, args.Usagef("as in --ports 22,80,443,8000-8010", "--ports: %v", err)
	}
	if target.IsZero() {
		return false, args.Usagef("as in culvert probe --proxy http://127.0.0.1:3128 --ports 22,80 example.com", "--ports needs the target whose ports are asked for")
	}
	return c.survey(ctx, auditor, audit.PortTargets(hostOf(target), ports), false)
}

// check refuses flags that do not go together.
func (c *Audit) check() error {
	var given []string
	for _, name := range modes {
		if c.set(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) > 1 {
		return args.Usagef("leave one of them out", "%s exclude each other", strings.Join(given, " and "))
	}
	for _, name := range extras {
		if c.typed(name) && !c.Flags.Bool("audit") {
			return args.Usagef("add --audit, or leave it out", "--%s is for --audit", name)
		}
	}
	for _, name := range singles {
		if c.typed(name) {
			return args.Usagef("leave it out", "--%s is for a single exchange, not for %s", name, given[0])
		}
	}
	switch {
	case c.Flags.Bool("json") && c.set("markdown") && c.Flags.Bool("audit"):
		return args.Usagef("leave one of them out", "--json and --markdown exclude each other")
	case len(c.Args) > 0 && (c.Flags.Bool("list") || c.Flags.Bool("reach")):
		return args.Usagef("leave it out", "%s takes no target, and %q is given", given[0], c.Args[0])
	}
	return nil
}

// typed reports whether a flag was set on the command line, to a value other than ""
// and "false".
func (c *Audit) typed(name string) bool {
	return c.set(name) && c.Flags.IsTyped(name)
}

// set reports whether a flag was set, on the command line or by a variable, to a value
// other than "" and "false".
func (c *Audit) set(name string) bool {
	s := c.Flags.Last(name)
	return s.Source != "" && s.Value != "false" && s.Value != ""
}

// auditor returns the Auditor that the flags describe, and the target, zero if there is
// none.
func (c *Audit) auditor() (a *audit.Auditor, target tunnel.Authority, err error) {
	if target, err = c.target(); err != nil {
		return nil, target, err
	}
	plan, err := c.Plan(target)
	if err != nil {
		return nil, target, err
	}
	hops := plan.Client.Route.Hops
	switch {
	case len(hops) == 0 && target.IsZero() && (c.set("pac") || c.set("wpad")):
		return nil, target, args.Usagef("name the proxy with --proxy http://HOST:PORT", "there is no proxy to audit: a script chooses one for each target, and none is given")
	case len(hops) == 0:
		return nil, target, args.Usagef("name it with --proxy http://HOST:PORT", "there is no proxy to audit: the way would be direct (%s)", plan.Why)
	case strings.HasPrefix(hops[len(hops)-1].Scheme, "socks"):
		return nil, target, args.Usagef("name one with --proxy http://HOST:PORT", "the audit is about CONNECT, and %s speaks SOCKS", hops[len(hops)-1])
	case c.Flags.Duration("patience") <= 0 || c.Flags.Duration("audit-idle") < 0 || c.Flags.Duration("audit-slow") < 0:
		return nil, target, args.Usagef("as in --patience 5s", "--patience, --audit-idle and --audit-slow are positive times")
	case !c.Flags.Bool("i-own-this") && !onLoopback(hops):
		return nil, target, args.Usagef("--i-own-this says that you may", "%s is not on this machine: its owner may take this for an attack", hops[len(hops)-1])
	}
	if c.Planned != nil {
		c.Planned(plan, target)
	}
	a = &audit.Auditor{
		Client:   plan.Client,
		Target:   target,
		Listen:   c.Flags.String("target-listen"),
		Patience: c.Flags.Duration("patience"),
		Idle:     c.Flags.Duration("audit-idle"),
		Slow:     c.Flags.Duration("audit-slow"),
		Progress: c.progress(),
	}
	if announced := c.Flags.String("target-announce"); announced != "" {
		if a.Announce, err = tunnel.ParseTarget(announced); err != nil {
			return nil, target, args.Usagef("as in --target-announce 192.0.2.7:8443", "--target-announce: %v", err)
		}
		if a.Listen == "" {
			return nil, target, args.Usagef("add --target-listen HOST:PORT", "--target-announce is for --target-listen")
		}
	}
	for _, words := range c.Flags.Strings("check") {
		a.Only = append(a.Only, strings.FieldsFunc(words, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	if err := audit.CheckOnly(a.Only); err != nil {
		return nil, target, args.Usagef("culvert probe --list names them", "--check: %v", err)
	}
	return a, target, nil
}

// target returns the target in the arguments, zero if there is none. With --ports it may
// be a host without a port.
func (c *Audit) target() (tunnel.Authority, error) {
	if len(c.Args) == 0 {
		return tunnel.Authority{}, nil
	}
	target, err := route.Target(c.Args)
	if err != nil && c.set("ports") && len(c.Args) == 1 {
		if host, err := route.Target([]string{c.Args[0], "1"}); err == nil {
			return host, nil
		}
	}
	return target, err
}

// onLoopback reports whether all hops are on this machine.
func onLoopback(hops []tunnel.Hop) bool {
	for _, h := range hops {
		if h.Scheme != tunnel.SchemeUnix && !h.Proxy.Addr().IsLoopback() && !strings.EqualFold(h.Proxy.Host(), "localhost") {
			return false
		}
	}
	return true
}

// audit runs the audit and writes its report.
func (c *Audit) audit(ctx context.Context, a *audit.Auditor) (failed bool, err error) {
	junit, err := openJUnit(c.Flags.String("junit")) // before the audit, which takes a while
	if err != nil {
		return false, err
	}
	defer junit.close()
	report, err := a.Run(ctx)
	if err != nil {
		junit.failed(a, err)
		var listen *audit.ListenError
		if errors.As(err, &listen) {
			err = args.Usagef("give an address of this machine and a port that is free, as in --target-listen 127.0.0.1:8443", "--target-listen: %v", listen.Err)
		}
		return false, err
	}
	if err := junit.write(report.WriteJUnit); err != nil {
		return false, err
	}
	switch {
	case c.Flags.Bool("json"):
		err = report.WriteJSON(c.Out)
	case c.Flags.Bool("markdown"):
		err = report.WriteMarkdown(c.Out)
	default:
		err = report.WriteText(c.Out, c.Style)
	}
	if err == nil && report.Inconclusive() {
		err = &args.Error{Message: "no MUST could be tried: the report says why", Hint: conclusiveBy(report), ExitCode: report.ExitCode}
	}
	return report.Failed(), err
}

// conclusiveBy returns the hint for an audit that could try nothing: how to make it
// conclusive.
func conclusiveBy(r *audit.Report) string {
	switch {
	case r.Refused == 511 || r.Refused/100 == 3 || r.Refused/100 == 2:
		return "a login page may stand in the way: open a page in a browser, and look with culvert probe HOST:PORT what it says"
	case r.ExitCode == tunnel.ExitCredentials:
		return "name credentials that it takes: --proxy http://USER:PASSWORD@HOST:PORT, with --auth if it is to be one scheme"
	case r.Refused != 0 && r.ExitCode == tunnel.ExitNotAProxy:
		return "it may be a web server, not a proxy, or want TLS: look with culvert probe HOST:PORT what it says"
	case r.Refused == 0:
		return "look with culvert probe HOST:PORT what it says; for an answer that takes long there is --patience"
	}
	return "let the audit's target listen where the proxy reaches and allows it: --target-listen HOST:443"
}

// progress returns the function that shows which check or target is being tried, nil if
// nothing is shown.
func (c *Audit) progress() func(done, all int, what string) {
	say := c.Progress.show
	switch {
	case c.Say != nil:
		say = c.Say
	case c.Progress == nil:
		return nil
	}
	return func(done, all int, what string) {
		if done == all {
			c.Progress.Wipe()
			return
		}
		say(fmt.Sprintf("%d of %d: %s", done+1, all, what))
	}
}
