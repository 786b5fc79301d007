package serve

import (
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/cli/args"
)

// Logs holds the access log and the error log.
type Logs struct {
	Access, Errors *slog.Logger

	lines *accesslog.LineWriter // of the access log; nil = stderr
}

// OpenLogs opens the logs, and redirects the output of package log to the error log. say
// writes a line for a person: when lines of the access log are lost, and when it is
// written again. The caller closes the Logs.
func OpenLogs(flags *args.Values, say func(format string, a ...any)) (*Logs, error) {
	l := &Logs{Errors: slog.New(accesslog.NewHandler(os.Stderr, flags.String("log-format"), flags.String("log-level")))}
	// What net/http reports about origin servers matters only when debugging.
	log.SetOutput(slog.NewLogLogger(l.Errors.Handler(), slog.LevelDebug).Writer())
	log.SetFlags(0)
	path := flags.String("access-log")
	if path == "-" {
		l.Access = l.Errors
		return l, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, &args.Error{Message: fmt.Sprintf("cannot open the access log: %v", err), ExitCode: tunnel.ExitUnexpected,
			Hint: "its folder must exist and be writable; --access-log - logs to stderr"}
	}
	l.lines = accesslog.NewLineWriter(file, accesslog.LineOptions{
		Format: flags.String("log-format"),
		Behind: func() { say("the access log %s is not written fast enough, lines are lost", path) },
		Broken: func(err error) { say("cannot write the access log, lines are lost from here on: %v", err) },
		Mended: func() { say("the access log %s is written again", path) },
	})
	l.Access = slog.New(accesslog.NewHandler(l.lines, flags.String("log-format"), flags.String("log-level")))
	return l, nil
}

// closePatience bounds how long the end of the program waits for a log to be written.
const closePatience = 500 * time.Millisecond

// Close writes the last lines and closes the file of the access log. It returns the
// number of lines that could not be written.
func (l *Logs) Close() (lost int) {
	if l.lines == nil {
		return 0
	}
	return l.lines.Close(closePatience)
}
