package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/audit"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/terminal"

	"github.com/fatih/color"
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
			"commonest failure, or a signal's. culvert --help lists them.\n\n" + route.Choice,
		Flags:  urfaveFlags(flagTable("probe")),
		Action: l.action(runProbe),
	}
}

// probeFlags are those that the report of an exchange is made by.
func probeFlags() []args.Flag {
	return []args.Flag{
		{Name: "wait", Kind: args.Duration, Default: tunnel.DefaultProbeWait, Usage: "`TIME` to listen to the open tunnel, and for the proxy to close after a refusal; 0 is off; with --count, unless given, half the interval at most"},
		{Name: "send", Kind: args.Text, Usage: "send `TEXT` through the open tunnel, with \\r \\n \\t \\\\ \\xNN for what cannot be typed"},
		{Name: "count", Kind: args.Number, Usage: "probe `N` times, a line each, and sum up; 0 is until Ctrl-C"},
		{Name: "interval", Kind: args.Duration, Default: time.Second, Usage: "of --count: `TIME` from the start of one to that of the next"},
		{Name: "parallel", Kind: args.Number, Default: 1, Usage: "of --count: at most `N` at once"},
		{Name: "save", Kind: args.Text, Usage: "write the exchange to a new `FILE` too, which tunneltest plays back"},
		{Name: "hex", Kind: args.Switch, Usage: "show the bytes in hexadecimal, with offsets, and when each read brought them; not those of HTTP/2's frames"},
		{Name: "raw", Kind: args.Switch, Usage: "print the bytes received, as they are, and the verdict to stderr; not to a terminal"},
		{Name: "json", Kind: args.Switch, Usage: "print the report as one JSON document"},
	}
}

// runProbe is the verb.
func runProbe(ctx context.Context, line *args.Line) error {
	if a := auditOf(ctx, line); a.Wanted() {
		return a.run(ctx)
	}
	target, err := route.Target(line.Args)
	if err != nil {
		return err
	}
	prober, err := proberOf(ctx, line, target)
	if err != nil {
		return err
	}
	var progress *audit.Progress // none with -v, which tells all as it comes
	if !line.Bool("verbose") {
		progress = audit.NewProgress(os.Stderr)
		prober.Client.Trace = &tunnel.Trace{Waiting: progress.Waiting}
	}
	if line.IsSet("count") {
		return probeSeries(ctx, line, prober, target, progress)
	}
	save, err := audit.Transcript(line.String("save"), version())
	if err != nil {
		return err
	}
	dieOnSignal(progress.Wipe) // and not sooner: a question for a password turns the echo on again
	report, err := prober.Probe(ctx, target)
	progress.Wipe()
	if err != nil {
		return ended(err, 0)
	}
	unsaved := save(report) // told behind the report, which is not lost with it
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
		return stdoutError(err)
	case unsaved != nil:
		return &failure{err: unsaved, code: cmp.Or(report.Verdict.ExitCode, tunnel.ExitCode(unsaved))}
	}
	return ended(nil, report.Verdict.ExitCode)
}

// ended is how probe ends: by an error, or by an exit code once all is told.
func ended(err error, code int) error {
	var usage *args.Error
	switch {
	case errors.As(err, &usage):
		return err
	case errors.Is(err, syscall.EPIPE):
		return stdoutError(err)
	case err != nil:
		return explained(err)
	case code != tunnel.ExitOK:
		return &failure{code: code}
	}
	return nil
}

// countFlags are those that say how --count does it.
var countFlags = args.Names{"interval", "parallel"}

// probeSeries is probe --count. A first signal ends it with its sums.
func probeSeries(ctx context.Context, line *args.Line, prober *tunnel.Prober, target tunnel.Authority, progress *audit.Progress) error {
	ctx, stop := audit.UntilSignal(ctx)
	s := audit.Series{Flags: &line.Values, Prober: prober, Out: os.Stdout, Style: styleFor(os.Stdout, line), Progress: progress}
	code, err := s.Run(ctx, target)
	cut := ctx.Err() != nil
	if by := stop(); cut && (err == nil || errors.Is(err, context.Canceled)) {
		return &failure{code: 128 + int(by)}
	}
	return ended(err, code)
}

// auditing is probe --audit and its like.
type auditing struct {
	audit.Command
}

func auditOf(ctx context.Context, line *args.Line) *auditing {
	a := &auditing{audit.Command{Flags: &line.Values, Args: line.Args, Way: chooserOf(ctx, line).To,
		Out: os.Stdout, Style: styleFor(os.Stdout, line), Progress: audit.NewProgress(os.Stderr)}}
	if line.Bool("verbose") { // which tells all as it comes
		a.Progress = nil
		a.Planned = func(w *route.Way, target tunnel.Authority) {
			(&verbose{line: line, on: true, client: w.Client}).plan(w, whither(target))
		}
		a.Tell = func(words string) { talk(line, "%s", words) }
	}
	return a
}

func (a *auditing) run(ctx context.Context) error {
	dieOnSignal(a.Progress.Wipe)
	failed, err := a.Run(ctx)
	a.Progress.Wipe()
	if failed {
		return ended(err, tunnel.ExitCheck)
	}
	return ended(err, tunnel.ExitOK)
}

// proberOf sets a Prober up by the flags and the environment.
func proberOf(ctx context.Context, line *args.Line, target tunnel.Authority) (*tunnel.Prober, error) {
	w, err := chooserOf(ctx, line).To(target)
	if err != nil {
		return nil, err
	}
	if w.Client.Route.Direct() {
		return nil, args.Usagef("name it with --proxy http://HOST:PORT", "there is no proxy to probe: the way would be direct (%s)", w.Why)
	}
	if hops := w.Client.Route.Hops; strings.HasPrefix(hops[len(hops)-1].Scheme, "socks") {
		return nil, args.Usagef("name one with --proxy http://HOST:PORT; culvert dial -v goes through SOCKS", "probe is about CONNECT, and %s speaks SOCKS", hops[len(hops)-1])
	}
	for _, name := range countFlags {
		if line.IsTyped(name) && !line.IsSet("count") {
			return nil, args.Usagef("add --count N, or leave it out", "%s is for --count", line.Source(name))
		}
	}
	if err := audit.OneForm(&line.Values, w.Client.Route, term.IsTerminal(int(os.Stdout.Fd()))); err != nil {
		return nil, err
	}
	p := &tunnel.Prober{Why: w.Why, ShowSecrets: line.Bool("show-secrets")}
	if p.Interception, err = audit.Interception(&line.Values); err != nil {
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
	v := verbose{line: line, on: line.Bool("verbose"), client: w.Client, started: time.Now()}
	v.plan(w, target.String())
	if v.on {
		w.Client.Trace = v.trace()
	}
	p.Client = w.Client
	return p, nil
}

// verbose is -v: it tells what happens, if on.
type verbose struct {
	line    *args.Line
	on      bool
	client  *tunnel.Client
	started time.Time
}

func (v *verbose) say(format string, a ...any) {
	if v.on {
		talk(v.line, format, a...)
	}
}

// plan tells the route and what there is to be said about it.
func (v *verbose) plan(w *route.Way, target string) {
	if w.Client.Route.Direct() {
		v.say("to %s direct: %s", target, w.Why)
	} else {
		v.say("to %s through %s: %s", target, w.Client.Route, w.Why)
	}
	for _, note := range w.Notes {
		v.say("%s", note)
	}
	if proxy, ok := w.Client.InClear(); ok {
		unless := ""
		if w.Client.Auth == "" {
			unless = "by Basic, if the proxy wants that, "
		}
		v.say("%sthe credentials go to %s in clear: who listens on the way can read them", unless, proxy)
	}
}

func (v *verbose) trace() *tunnel.Trace {
	return &tunnel.Trace{
		Resolved: func(host string, addrs []netip.Addr, err error) {
			if err == nil {
				v.say("%s resolves to %v", host, addrs)
			}
		},
		Connecting: func(addr string) { v.say("connecting to %s", addr) },
		Connected: func(addr string, err error) {
			if err != nil {
				v.say("%s: %v", addr, err)
				return
			}
			v.say("connected to %s", addr)
		},
		Abandoned: func(left tunnel.Route, why error, next tunnel.Route) {
			sentence, _ := tunnel.Explain(why)
			v.say("%s cannot be taken: %s; trying %s", left, sentence, next)
		},
		Spoken:    v.spoken,
		Secured:   v.secured,
		Exchanged: v.exchanged,
	}
}

// secured tells what a TLS handshake came to.
func (v *verbose) secured(h *tunnel.TLSHandshake) {
	for _, line := range h.Words() { // a certificate may hold what a proxy was sent
		v.say("%s", v.masked([]byte(line)))
	}
}

// spoken tells a message of SOCKS, its answer, and what they mean.
func (v *verbose) spoken(x *tunnel.SOCKSMessage) {
	v.say("%s: %s", x.Step, x.Asks())
	v.say("> %s", tunnel.EscapeLine(x.Sent))
	if len(x.Received) > 0 {
		v.say("< %s", tunnel.EscapeLine(x.Received))
	}
	v.say("%s", x.Means())
}

// exchanged tells the heads of one exchange, what is not printable escaped.
func (v *verbose) exchanged(x *tunnel.Exchange) {
	v.head(">", x.Request)
	for _, interim := range x.Interim {
		v.head("<", interim)
	}
	v.head("<", x.Reply)
	if x.Glued > 0 {
		v.say("%d bytes of the target's came along with the answer", x.Glued)
	}
}

func (v *verbose) head(mark string, head []byte) {
	for line := range bytes.Lines(v.masked(head)) {
		v.say("%s %s", mark, tunnel.EscapeLine(line))
	}
}

func (v *verbose) masked(text []byte) []byte {
	if v.line.Bool("show-secrets") {
		return text
	}
	return v.client.Mask(text)
}

// end tells what went through the tunnel.
func (v *verbose) end(r tunnel.StdioResult) {
	v.say("tunnel ended: %d bytes up, %d bytes down", r.Up, r.Down)
	if r.HalfClosed && r.After == 0 && !v.client.Route.Direct() {
		v.say("nothing came after end of file on stdin was passed on: if an answer is missing, try --on-eof wait")
	}
}

// whither is a target for a person; with SOCKS the programs name theirs.
func whither(target tunnel.Authority) string {
	if target.IsZero() {
		return "any target"
	}
	return target.String()
}

// chooserOf reads the flags that say how to get to targets.
func chooserOf(ctx context.Context, line *args.Line) *route.Chooser {
	return route.NewChooser(ctx, &line.Values, "culvert/"+version())
}

// styleFor decides about colour and width for one stream, by --color among others.
func styleFor(f *os.File, line *args.Line) terminal.Style {
	mode := line.String("color")
	on := mode == "always" || mode != "never" &&
		os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
	dress := func(attributes ...color.Attribute) func(string) string {
		c := color.New(attributes...)
		// The object's own switch overrules the library's, which judges stdout only.
		if on {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return func(s string) string { return c.Sprint(s) }
	}
	return terminal.Style{
		Width: route.Columns(f), Wrap: term.IsTerminal(int(f.Fd())),
		Talk: dress(color.FgCyan), Sent: dress(color.FgBlue), Received: dress(color.FgMagenta),
		Good: dress(color.FgGreen), Warn: dress(color.FgYellow), Bad: dress(color.FgRed, color.Bold),
		Faint: dress(color.Faint), Bold: dress(color.Bold),
	}
}
