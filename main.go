// Command culvert carries TCP streams through HTTP proxies: serve is such a
// proxy, dial opens a tunnel through one, probe tells what one does.
//
// This file is what the verbs share: manners, errors, colour, exit codes.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/route"

	"github.com/urfave/cli/v2"
)

func main() { os.Exit((&commandLine{app: newApp()}).end(route.Called(os.Args[0], os.Args[1:]))) }

// exitCodes stands in the help and the manual page.
const exitCodes = `exit codes of dial and probe:
   0  fine
   1  unexpected failure
   2  usage
   3  the proxy cannot be reached (name, TCP)
   4  TLS failed, to the proxy or the target, or is intercepted
   5  the proxy wants credentials, or refused them
   6  the proxy refused the target
   7  the proxy could not reach the target
   8  a malformed reply, or not a proxy
   9  a deadline of ours passed
  10  the tunnel broke after it was open
  11  probe: a MUST is broken (--audit, --compare), or a way open (--reach)
serve ends with 0 when drained, 1 when it failed, 2 for usage.
A signal ends dial and probe with 128 + its number.`

func newApp() *cli.App {
	app := &cli.App{
		Name:        "culvert",
		Usage:       "a forward proxy, a way through proxies, and a look at them",
		UsageText:   "culvert serve\nculvert dial --proxy http://proxy.corp:3128 -- example.com 22\nculvert probe --proxy http://proxy.corp:3128 example.com:443",
		Description: "culvert VERB --help tells more of each verb.\n\n" + exitCodes,
		Commands:    []*cli.Command{serveCommand(), dialCommand(), probeCommand()},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "completion", Usage: "print a completion script: `bash|zsh|fish`"},
			&cli.BoolFlag{Name: "man", Usage: "print the manual page, for man -l -"},
			&cli.BoolFlag{Name: "version", Usage: "print the version"},
		},
		HideHelp: true, HideVersion: true, DisableSliceFlagSeparator: true,
		// Without a handler of ours urfave would exit by itself.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	app.Flags = append(app.Flags, commonFlags()...)
	for _, c := range app.Commands {
		c.HideHelp = true
		c.Flags = append(c.Flags, commonFlags()...)
	}
	return app
}

func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "color", Value: "auto", Usage: "when to colour: `auto|always|never`; auto asks the terminal, NO_COLOR and TERM"},
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this help"},
	}
}

// urfaveFlags are the flags that other packages read, for urfave to parse.
func urfaveFlags(specs ...[]args.Spec) []cli.Flag {
	var out []cli.Flag
	for _, s := range slices.Concat(specs...) {
		switch s.Kind {
		case args.Text:
			value, _ := s.Default.(string)
			out = append(out, &cli.StringFlag{Name: s.Name, Aliases: s.Aliases, Usage: s.Usage, Value: value})
		case args.List:
			out = append(out, &cli.StringSliceFlag{Name: s.Name, Aliases: s.Aliases, Usage: s.Usage})
		case args.Switch:
			out = append(out, &cli.BoolFlag{Name: s.Name, Aliases: s.Aliases, Usage: s.Usage})
		case args.Duration:
			value, _ := s.Default.(time.Duration)
			out = append(out, &cli.DurationFlag{Name: s.Name, Aliases: s.Aliases, Usage: s.Usage, Value: value})
		case args.Number:
			out = append(out, &cli.IntFlag{Name: s.Name, Aliases: s.Aliases, Usage: s.Usage})
		}
	}
	return out
}

// version is the module's if culvert was built as one, as by go install.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "0.1.0"
}

// failure is an error that knows its hint and its exit code.
type failure struct {
	err  error  // nil: end silently
	hint string // "" = none
	code int    // 0 = that of err
}

func (f *failure) Error() string { return fmt.Sprint(f.err) }
func (f *failure) Unwrap() error { return f.err }

// usageErrorf is a command line that cannot be meant.
func usageErrorf(hint, format string, a ...any) error {
	return args.Usagef(hint, format, a...)
}

// flagError is a usage error in the value of a flag. It names the variable
// where the value came from the environment.
func flagError(c *cli.Context, name string, err error, hint string) error {
	return usageErrorf(hint, "%s: %v", cmp.Or(flagSource(c, name), "--"+name), err)
}

// flagSource tells who set a flag last: "--proxy" or "-x" as typed,
// "CULVERT_DIAL_PROXY", or "" if nobody did.
func flagSource(c *cli.Context, name string) string {
	return args.Find(settingsOf(c), name).Source
}

// settingsOf are the flags as they were set.
func settingsOf(c *cli.Context) []args.Setting {
	return c.App.Metadata["settings"].([]args.Setting)
}

// stdoutError is for a failed write of the payload. A reader that went away
// ends the program as SIGPIPE would: the runtime sees to that only for writes
// of package os, and not where SIGPIPE is ignored.
func stdoutError(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return &failure{code: 128 + int(syscall.SIGPIPE)}
	}
	return fmt.Errorf("stdout: %w", err)
}

// printed writes to stdout.
func printed(text string) error {
	if _, err := os.Stdout.WriteString(text); err != nil {
		return stdoutError(err)
	}
	return nil
}

// dieOnSignal makes a signal end the program silently with 128+n, and with what
// is to be done last. Signals that were ignored from the start, as by nohup, stay
// ignored.
func dieOnSignal(last ...func()) {
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			for _, f := range last {
				f()
			}
			os.Exit(128 + int(s))
		}
	}()
}

// dieAbandoned ends the program, as SIGPIPE would, when whoever started it is
// gone while the tunnel is being opened, until stop: a killed ssh sends no signal,
// and a proxy may be silent for long. With --fdpass stdin means nothing.
func dieAbandoned(fdpass bool) (stop func()) {
	in := os.Stdin
	if fdpass {
		in = nil
	}
	return tunnel.WhenAbandoned(in, os.Stdout, func() { os.Exit(128 + int(syscall.SIGPIPE)) })
}

// talk writes one line to stderr: "culvert VERB: message".
func talk(c *cli.Context, format string, a ...any) {
	say(styleFor(os.Stderr, c.String("color")).Talk, "culvert "+c.Command.Name+":", fmt.Sprintf(format, a...))
}

// say is one write, so that lines of several goroutines stay whole. Control
// characters, which may be a proxy's, never reach the terminal.
func say(dress func(string) string, who, message string) {
	fmt.Fprintln(os.Stderr, dress(who), args.Printable(message))
}

// commandLine is what the words and the environment ask for.
type commandLine struct {
	app      *cli.App
	verb     *cli.Command // nil until it is known
	settings []args.Setting
	args     []string
}

// end is the whole program; it returns the exit code.
func (l *commandLine) end(words []string) (code int) {
	defer func() {
		if p := recover(); p != nil {
			code = l.report(&failure{err: fmt.Errorf("internal error: %v", p), hint: "this is a bug in culvert: please report it"})
		}
	}()
	return l.report(l.run(words))
}

// run does what the words ask for. Urfave gets words that are in order: flags
// in one piece under their first name, then "--", then the arguments.
func (l *commandLine) run(words []string) error {
	if err := l.parse(words); err != nil {
		return err
	}
	if page := l.page(); page != "" {
		return printed(page)
	}
	if l.verb == nil {
		return usageErrorf("culvert --help tells what they do", "no verb given: serve, dial or probe")
	}
	ordered := []string{l.app.Name, l.verb.Name}
	for _, s := range l.settings {
		ordered = append(ordered, "--"+s.Name+"="+s.Value)
	}
	l.app.Metadata = map[string]any{"settings": l.settings}
	return l.app.Run(append(append(ordered, "--"), l.args...))
}

// parse takes the words apart and adds the environment's.
func (l *commandLine) parse(words []string) (err error) {
	l.settings, words, err = args.Take(args.FlagsOf(typedOnly, l.app.Flags), words, true)
	if err != nil {
		return err
	}
	if len(words) > 0 && words[0] == "help" {
		l.settings, words = append(l.settings, args.Setting{Name: "help", Value: "true", Source: "help"}), words[1:]
	}
	if len(words) == 0 {
		return nil
	}
	if l.verb = l.app.Command(words[0]); l.verb == nil {
		return usageErrorf("the verbs are serve, dial and probe; culvert --help tells what they do", "unknown verb %q", words[0])
	}
	v := verbOf(l.verb)
	settings, rest, err := args.Take(v.Flags, words[1:], false)
	l.settings, l.args = append(l.settings, settings...), rest
	if err != nil || l.page() != "" {
		return err
	}
	settings, err = args.Program{Name: l.app.Name}.Environment(v, l.settings, os.Getenv)
	if err != nil {
		return err
	}
	l.settings, l.args, err = route.Habits(append(l.settings, settings...), l.args)
	return err
}

// page is what goes to stdout when it is asked for, instead of a verb's work.
func (l *commandLine) page() string {
	asked := func(name string) bool { return args.Find(l.settings, name).Value != "" }
	switch {
	case asked("help"):
		p := l.program()
		if l.verb != nil {
			return p.Help(verbOf(l.verb))
		}
		return p.Help(p.Verb)
	case asked("version"):
		return l.app.Name + " " + version() + "\n"
	case asked("man"):
		return l.program().Man()
	case asked("completion"):
		return l.program().Completion(args.Find(l.settings, "completion").Value)
	}
	return ""
}

func (l *commandLine) program() args.Program {
	root := cli.Command{Usage: l.app.Usage, UsageText: l.app.UsageText, Description: l.app.Description, Flags: l.app.Flags}
	p := args.Program{Name: l.app.Name, Version: version(), Verb: verbOf(&root)}
	for _, c := range l.app.Commands {
		p.Verbs = append(p.Verbs, verbOf(c))
	}
	return p
}

func verbOf(c *cli.Command) args.Verb {
	return args.Verb{
		Name: c.Name, Summary: c.Usage, Args: c.ArgsUsage, Description: c.Description,
		Examples: strings.Split(c.UsageText, "\n"), Flags: args.FlagsOf(typedOnly, c.Flags),
	}
}

// typedOnly are the flags that weaken or redirect so much that no environment
// may set them.
var typedOnly = []string{"insecure", "tls-insecure", "open", "show-secrets", "fdpass", "exec", "help", "i-own-this"}

// report says what went wrong and returns the exit code.
func (l *commandLine) report(err error) int {
	if err == nil {
		return tunnel.ExitOK
	}
	var f *failure
	var usage *args.Error
	switch {
	case errors.As(err, &f):
	case errors.As(err, &usage):
		f = &failure{err: err, hint: usage.Hint, code: cmp.Or(usage.ExitCode, tunnel.ExitUsage)}
	default:
		f = &failure{err: err}
	}
	if f.err != nil {
		who := l.app.Name
		if l.verb != nil {
			who += " " + l.verb.Name
		}
		style := styleFor(os.Stderr, args.Find(l.settings, "color").Value)
		say(style.Bad, who+":", err.Error())
		if f.hint != "" {
			say(style.Bold, "hint:", f.hint)
		}
	}
	return cmp.Or(f.code, tunnel.ExitCode(f.err))
}
