package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	cliprobe "culvert/tunnel/cli/probe"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/client"
	"culvert/tunnel/probe"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

func probeCommand(l *commandLine) *cli.Command {
	return &cli.Command{
		Name:      "probe",
		Usage:     "show the CONNECT exchange with any proxy, time it, judge it",
		ArgsUsage: "HOST:PORT | HOST PORT",
		UsageText: "culvert probe --proxy http://proxy.corp:3128 example.com:443\n" +
			"culvert probe -x proxy:3128 --send 'HEAD / HTTP/1.0\\r\\n\\r\\n' example.com:80\n" +
			"HTTPS_PROXY=http://proxy.corp:3128 culvert probe --json example.com:443\n" +
			"culvert probe -x proxy:3128 --tls www.example.com:443   # who speaks TLS?\n" +
			"culvert probe --proxy http://127.0.0.1:3128 --audit",
		Description: "Before each line on stdout stands * for talk, > for bytes sent, < for bytes\n" +
			"received. Bytes that are not printable are escaped: \\r \\n \\t \\\\ \\xNN.\n" +
			"The exit code is that of the verdict, in the last line; with --count that of the\n" +
			"commonest failure, or a signal's. culvert --help lists them.\n\n" + route.HelpText,
		Flags:  urfaveFlags(l.flags["probe"]),
		Action: l.action(runProbe),
	}
}

// runProbe shows one exchange, or what the flags ask for instead.
func runProbe(ctx context.Context, line *args.Line) error {
	if a := auditOf(ctx, line); a.Wanted() {
		return runAudit(ctx, a)
	}
	target, err := route.Target(line.Args)
	if err != nil {
		return err
	}
	prober, err := proberOf(ctx, line, target)
	if err != nil {
		return err
	}
	var progress *cliprobe.Progress // none with -v, which tells each step
	if !line.Bool("verbose") {
		progress = cliprobe.NewProgress(os.Stderr)
		prober.Client.Trace = &client.Trace{Waiting: progress.Waiting}
	}
	if line.IsSet("count") {
		return probeSeries(ctx, line, prober, target, progress)
	}
	save, err := cliprobe.Transcript(line.String("save"), version())
	if err != nil {
		return err
	}
	exitOnSignal(progress.Wipe) // not before: a signal at a password prompt has to turn the echo on again
	report, err := prober.Probe(ctx, target)
	progress.Wipe()
	if err != nil {
		return probeError(err, 0)
	}
	unsaved := save(report) // reported after the report, which is printed all the same
	style := styleFor(os.Stdout, line)
	switch {
	case line.Bool("json"):
		err = report.WriteJSON(os.Stdout)
	case line.Bool("raw"):
		err = report.WriteRaw(os.Stdout)
		talk(line, "verdict: %s", report.Verdict.Words)
	case line.Bool("hex"):
		err = report.WriteHex(os.Stdout, style)
	default:
		err = report.WriteText(os.Stdout, style)
	}
	switch {
	case err != nil:
		return exit.Stdout(err)
	case unsaved != nil:
		return &exit.Error{Err: unsaved, Code: cmp.Or(report.Verdict.ExitCode, tunnel.ExitCode(unsaved))}
	}
	return probeError(nil, report.Verdict.ExitCode)
}

// probeError returns the error that the verb ends with: err in words for a person,
// or one with an exit code alone.
func probeError(err error, code int) error {
	var mistake *args.Error
	switch {
	case errors.As(err, &mistake):
		return err
	case errors.Is(err, syscall.EPIPE):
		return exit.Stdout(err)
	case err != nil:
		return exit.Explained(err)
	case code != tunnel.ExitOK:
		return exit.Code(code)
	}
	return nil
}

// countFlags are the flags that say how --count probes.
var countFlags = args.Names{"interval", "parallel"}

// probeSeries is probe --count. The first signal ends it, with a summary.
func probeSeries(ctx context.Context, line *args.Line, prober *probe.Prober, target tunnel.Authority, progress *cliprobe.Progress) error {
	ctx, stop := cliprobe.UntilSignal(ctx)
	s := cliprobe.Series{Flags: &line.Values, Prober: prober, Out: os.Stdout, Style: styleFor(os.Stdout, line), Progress: progress}
	code, err := s.Run(ctx, target)
	interrupted := ctx.Err() != nil
	if by := stop(); interrupted && (err == nil || errors.Is(err, context.Canceled)) {
		return exit.Signal(by)
	}
	return probeError(err, code)
}

// auditOf is probe --audit and the like.
func auditOf(ctx context.Context, line *args.Line) *cliprobe.Command {
	a := &cliprobe.Command{Flags: &line.Values, Args: line.Args, Plan: chooserOf(ctx, line).Plan,
		Out: os.Stdout, Style: styleFor(os.Stdout, line), Progress: cliprobe.NewProgress(os.Stderr)}
	a.Planned = func(plan *route.Plan, target tunnel.Authority) { plan.Verbose(talker(line)).Plan(target) }
	if line.Bool("verbose") { // which tells each step
		a.Progress = nil
		a.Tell = func(words string) { talk(line, "%s", words) }
	}
	return a
}

// runAudit does what the flags ask for.
func runAudit(ctx context.Context, a *cliprobe.Command) error {
	exitOnSignal(a.Progress.Wipe)
	failed, err := a.Run(ctx)
	a.Progress.Wipe()
	if failed {
		return probeError(err, tunnel.ExitCheck)
	}
	return probeError(err, tunnel.ExitOK)
}

// proberOf makes the Prober that the flags and the environment describe.
func proberOf(ctx context.Context, line *args.Line, target tunnel.Authority) (*probe.Prober, error) {
	plan, err := chooserOf(ctx, line).Plan(target)
	if err != nil {
		return nil, err
	}
	if plan.Client.Route.Direct() {
		return nil, args.Usagef("name it with --proxy http://HOST:PORT", "there is no proxy to probe: the way would be direct (%s)", plan.Why)
	}
	if hops := plan.Client.Route.Hops; strings.HasPrefix(hops[len(hops)-1].Scheme, "socks") {
		return nil, args.Usagef("name one with --proxy http://HOST:PORT; culvert dial -v goes through SOCKS", "probe is about CONNECT, and %s speaks SOCKS", hops[len(hops)-1])
	}
	for _, name := range countFlags {
		if line.IsTyped(name) && !line.IsSet("count") {
			return nil, args.Usagef("add --count N, or leave it out", "%s is for --count", line.Source(name))
		}
	}
	if err := cliprobe.OneForm(&line.Values, plan.Client.Route, term.IsTerminal(int(os.Stdout.Fd()))); err != nil {
		return nil, err
	}
	p := &probe.Prober{Why: plan.Why, ShowSecrets: line.Bool("show-secrets")}
	if p.Interception, err = cliprobe.Interception(&line.Values); err != nil {
		return nil, err
	}
	if p.Wait, err = line.Timeout("wait"); err != nil {
		return nil, err
	}
	if send := line.String("send"); send != "" {
		if p.Wait < 0 {
			return nil, args.Usagef("leave --wait out", "--send is of no use with --wait 0: nobody would see the answer")
		}
		var b tunnel.WireBytes
		if err := b.UnmarshalText([]byte(send)); err != nil {
			return nil, line.Mistake("send", err, `as in --send 'HEAD / HTTP/1.0\r\n\r\n'`)
		}
		p.Send = b
	}
	v := plan.Verbose(talker(line))
	v.Plan(target)
	plan.Client.Trace = v.Trace()
	p.Client = plan.Client
	return p, nil
}
