// Command culvert carries TCP streams through HTTP proxies: serve is such a proxy,
// dial opens a tunnel through one, probe shows what one does.
//
// This file runs the command line and holds what the verbs share: the App, the tables
// of flags, what is written to stdout and stderr, colour, and signals. Each verb has a
// file of its own here: it reads the flags, calls the packages, and prints the result.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/dial"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/cli/journal"
	"culvert/tunnel/cli/probe"
	"culvert/tunnel/cli/route"
	"culvert/tunnel/cli/serve"
	"culvert/tunnel/stdio"
	"culvert/tunnel/terminal"

	"github.com/fatih/color"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

func main() { os.Exit(newCommandLine().end(route.Called(os.Args[0], os.Args[1:]))) }

// commandLine is one run of the program.
type commandLine struct {
	flags map[string][]args.Flag // by verb; app and line are made from it
	app   *cli.App               // the verbs as urfave dispatches to them
	line  *args.Line             // empty until run has parsed it
	typed []string               // what line is parsed from

	relay *stdio.RelayProcess // this process, if dial --fdpass has started it; else nil

	journal *journal.Journal // what is said on stderr, of verbs that serve; nil = nothing yet
}

// newCommandLine returns a run that has parsed nothing yet.
func newCommandLine() *commandLine {
	l := &commandLine{flags: flagTables()}
	l.app = newApp(l)
	root := cli.Command{Usage: l.app.Usage, UsageText: l.app.UsageText, Description: l.app.Description}
	program := args.Program{Name: l.app.Name, Version: version(), Verb: l.verb(&root)}
	for _, c := range l.app.Commands {
		program.Verbs = append(program.Verbs, l.verb(c))
	}
	l.line = args.NewLine(program)
	return l
}

// verb describes a Command to package args.
func (l *commandLine) verb(c *cli.Command) args.Verb {
	return args.Verb{
		Name: c.Name, Summary: c.Usage, Args: c.ArgsUsage, Description: c.Description,
		Examples: strings.Split(c.UsageText, "\n"), Flags: l.flags[c.Name],
	}
}

// end runs the program and returns its exit code.
func (l *commandLine) end(words []string) (code int) {
	defer func() {
		if p := recover(); p != nil {
			code = l.report(&exit.Error{Err: fmt.Errorf("internal error: %v", p), Hint: "this is a bug in culvert: please report it"})
		}
		if l.journal != nil {
			l.journal.Close()
		}
	}()
	return l.report(l.run(words))
}

// run parses the words and the environment and does what they ask for. urfave calls
// the verb's Action; it gets no flags to parse.
func (l *commandLine) run(words []string) (err error) {
	if l.relay, err = stdio.FindRelayProcess(); err != nil {
		return err
	}
	if l.relay != nil { // its own arguments are for people to see
		words = l.relay.Orders.Words
	}
	l.typed = words
	if err := l.line.Parse(words); err != nil {
		return err
	}
	if page := l.line.Page(); page != "" {
		return printed(page, nil)
	}
	if l.line.Verb == nil {
		return args.Usagef("culvert --help tells what they do", "no verb given: serve, dial or probe")
	}
	if err := l.line.Environment(os.Getenv); err != nil {
		return err
	}
	if err := route.Habits(l.line); err != nil {
		return err
	}
	return l.app.Run([]string{l.app.Name, l.line.Verb.Name})
}

// action returns the Action of a verb, which runs it with the parsed line.
func (l *commandLine) action(run func(context.Context, *args.Line) error) cli.ActionFunc {
	return func(c *cli.Context) error { return run(c.Context, l.line) }
}

// report writes an error to stderr and returns the exit code.
func (l *commandLine) report(err error) int {
	e := exit.Of(err)
	if e.Err == nil {
		return e.Code
	}
	message := args.HideUserinfo(e.Error())
	if l.line.Verb != nil && l.line.Verb.Name == "serve" {
		l.openServeJournal()
	}
	if l.journal != nil {
		l.journal.Fail(message, e.Hint)
	} else {
		io.WriteString(os.Stderr, l.words().Error(message, e.Hint))
	}
	return e.Code
}

// openServeJournal opens the journal of serve, unless a journal is open already.
func (l *commandLine) openServeJournal() *journal.Journal {
	return l.openJournal(l.line.String("log-format"), l.line.String("log-level"))
}

// openJournal opens the journal of a verb that serves, unless it is open already.
func (l *commandLine) openJournal(format, level string) *journal.Journal {
	if l.journal == nil {
		l.journal = journal.Open(os.Stderr, format, level, l.words())
	}
	return l.journal
}

// words returns how messages on stderr are worded.
func (l *commandLine) words() journal.Words {
	who := l.app.Name
	if l.line.Verb != nil {
		who += " " + l.line.Verb.Name
	}
	style := styleFor(os.Stderr, l.line)
	return journal.Words{
		Talk: func(message string) string { return messageLine(style.Talk, who+":", message) },
		Error: func(message, hint string) string {
			text := messageLine(style.Bad, who+":", message)
			if hint != "" {
				text += messageLine(style.Bold, "hint:", hint)
			}
			return text
		},
	}
}

// newApp returns culvert as an App with three Commands. Their flags are made from
// the tables; urfave parses none of them.
func newApp(l *commandLine) *cli.App {
	app := &cli.App{
		Name:            "culvert",
		Usage:           "a forward proxy, a way through proxies, and a look at them",
		UsageText:       "culvert serve\nculvert dial --proxy http://proxy.corp:3128 -- example.com 22\nculvert probe --proxy http://proxy.corp:3128 example.com:443",
		Description:     "culvert VERB --help tells more of each verb.\n\n" + exitCodes,
		Commands:        []*cli.Command{serveCommand(l), dialCommand(l), probeCommand(l)},
		Flags:           urfaveFlags(l.flags[""]),
		SkipFlagParsing: true,
		HideHelp:        true, HideVersion: true,
		// Without this handler urfave would end the program by itself.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	for _, c := range app.Commands {
		c.SkipFlagParsing, c.HideHelp = true, true
	}
	return app
}

// exitCodes is a paragraph of the help and of the manual page.
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

// flagTables returns the flags of each verb, and under "" those that stand before the
// verb, in the order of the help. The parser, the help and the completion scripts are
// made from these tables.
func flagTables() map[string][]args.Flag {
	common := []args.Flag{
		{Name: "color", Kind: args.Text, Default: "auto",
			Usage: "when to colour: `auto|always|never`; auto asks the terminal, NO_COLOR and TERM"},
		args.HelpFlag(),
	}
	return map[string][]args.Flag{
		"":      slices.Concat(args.PageFlags(), common),
		"serve": slices.Concat(serve.Flags(), common),
		"dial":  slices.Concat(route.Flags(), dial.Flags(), common),
		"probe": slices.Concat(route.Flags(), probe.Flags(), common),
	}
}

// urfaveFlags returns the flags of a table in the form of urfave.
func urfaveFlags(table []args.Flag) []cli.Flag {
	out := make([]cli.Flag, 0, len(table))
	for _, f := range table {
		switch f.Kind {
		case args.Text:
			value, _ := f.Default.(string)
			out = append(out, &cli.StringFlag{Name: f.Name, Aliases: f.Aliases, Usage: f.Usage, Value: value, DefaultText: f.DefaultText})
		case args.List:
			out = append(out, &cli.StringSliceFlag{Name: f.Name, Aliases: f.Aliases, Usage: f.Usage, DefaultText: f.DefaultText, KeepSpace: f.KeepSpace})
		case args.Switch:
			out = append(out, &cli.BoolFlag{Name: f.Name, Aliases: f.Aliases, Usage: f.Usage})
		case args.Duration:
			value, _ := f.Default.(time.Duration)
			out = append(out, &cli.DurationFlag{Name: f.Name, Aliases: f.Aliases, Usage: f.Usage, Value: value, DefaultText: f.DefaultText})
		case args.Number:
			value, _ := f.Default.(int)
			out = append(out, &cli.IntFlag{Name: f.Name, Aliases: f.Aliases, Usage: f.Usage, Value: value, DefaultText: f.DefaultText})
		}
	}
	return out
}

// version returns the version of the module if culvert was built as one, as go
// install does.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "0.1.0"
}

// printed writes a text to stdout, unless there is an error instead.
func printed(text string, err error) error {
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(text); err != nil {
		return exit.Stdout(err)
	}
	return nil
}

// talk writes one line to stderr: "culvert VERB: message".
func talk(line *args.Line, format string, a ...any) {
	io.WriteString(os.Stderr, messageLine(styleFor(os.Stderr, line).Talk, "culvert "+line.Verb.Name+":", fmt.Sprintf(format, a...)))
}

// talker returns talk for one command line.
func talker(line *args.Line) func(format string, a ...any) {
	return func(format string, a ...any) { talk(line, format, a...) }
}

// messageLine returns one line for stderr. It is written in one write, so that the lines
// of several goroutines do not mix. Control characters, which a proxy may have sent,
// never reach the terminal.
func messageLine(colour terminal.Colour, who, message string) string {
	return colour.Paint(who) + " " + args.Printable(message) + "\n"
}

// styleFor returns the colours and the width for one stream. --color, the environment
// and whether the stream is a terminal decide.
func styleFor(f *os.File, line *args.Line) terminal.Style {
	mode := line.String("color")
	on := mode == "always" || mode != "never" &&
		os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
	dress := func(attributes ...color.Attribute) func(string) string {
		c := color.New(attributes...)
		// This overrides the library's own switch, which is for stdout only.
		if on {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return func(s string) string { return c.Sprint(s) }
	}
	return terminal.Style{
		Width: columns(f), Wrap: term.IsTerminal(int(f.Fd())),
		Talk: dress(color.FgCyan), Sent: dress(color.FgBlue), Received: dress(color.FgMagenta),
		Good: dress(color.FgGreen), Warn: dress(color.FgYellow), Bad: dress(color.FgRed, color.Bold),
		Faint: dress(color.Faint), Bold: dress(color.Bold),
	}
}

// columns returns the width of the terminal f in columns, 0 if f is not a terminal.
// The variable COLUMNS overrides it, for pagers.
func columns(f *os.File) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}

// exitOnSignal makes a signal end the program with exit code 128+n and no message,
// once the functions in last have returned. Signals that were ignored from the start,
// as by nohup, stay ignored.
func exitOnSignal(last ...func()) {
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

// chooserOf returns what chooses the route of dial and probe.
func chooserOf(ctx context.Context, line *args.Line) *route.Chooser {
	return route.NewChooser(ctx, &line.Values, "culvert/"+version())
}
