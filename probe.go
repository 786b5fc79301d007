package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"syscall"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/cli/probe"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/client"

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

// runProbe shows one exchange, or does what the flags ask for instead.
func runProbe(ctx context.Context, line *args.Line) error {
	if a := auditOf(ctx, line); a.Wanted() {
		return runAudit(ctx, a)
	}
	target, err := route.Target(line.Args)
	if err != nil {
		return err
	}
	plan, err := chooserOf(ctx, line).Plan(target)
	if err != nil {
		return err
	}
	prober, err := probe.NewProber(&line.Values, plan, term.IsTerminal(int(os.Stdout.Fd())))
	if err != nil {
		return err
	}
	verbose := plan.Verbose(talker(line))
	verbose.Plan(target)
	prober.Client.Trace = verbose.Trace()
	var progress *probe.Progress // none with -v, which writes each step
	if !line.Bool("verbose") {
		progress = probe.NewProgress(os.Stderr)
		prober.Client.Trace = &client.Trace{Waiting: progress.Waiting}
	}
	if line.IsSet("count") {
		return runSeries(ctx, target, &probe.Series{
			Flags: &line.Values, Prober: prober, Out: os.Stdout, Style: styleFor(os.Stdout, line), Progress: progress,
		})
	}
	save, err := probe.PrepareSave(line.String("save"), version())
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
	return exit.Code(report.Verdict.ExitCode)
}

// runSeries is probe --count. The first signal ends it, with a summary.
func runSeries(ctx context.Context, target tunnel.Authority, s *probe.Series) error {
	ctx, stop := probe.UntilSignal(ctx)
	code, err := s.Run(ctx, target)
	interrupted := ctx.Err() != nil
	if by := stop(); interrupted && (err == nil || errors.Is(err, context.Canceled)) {
		return exit.Signal(by)
	}
	return probeError(err, code)
}

// auditOf returns what probe does by --audit, --list, --compare, --ports or --reach.
func auditOf(ctx context.Context, line *args.Line) *probe.Audit {
	a := &probe.Audit{
		Flags: &line.Values, Args: line.Args, Plan: chooserOf(ctx, line).Plan,
		Out: os.Stdout, Style: styleFor(os.Stdout, line), Progress: probe.NewProgress(os.Stderr),
	}
	a.Planned = func(plan *route.Plan, target tunnel.Authority) { plan.Verbose(talker(line)).Plan(target) }
	if line.Bool("verbose") { // a line for each step instead
		a.Progress = nil
		a.Say = func(words string) { talk(line, "%s", words) }
	}
	return a
}

// runAudit does what the flags ask for.
func runAudit(ctx context.Context, a *probe.Audit) error {
	exitOnSignal(a.Progress.Wipe)
	failed, err := a.Run(ctx)
	a.Progress.Wipe()
	if failed {
		return probeError(err, tunnel.ExitCheck)
	}
	return probeError(err, tunnel.ExitOK)
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
	}
	return exit.Code(code)
}
