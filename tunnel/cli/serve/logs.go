package serve

import (
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"os"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/journal"
)

// Logs holds the access log and the error log. The error log, and the access log too
// unless it has a file, are in the journal.
type Logs struct {
	Access, Errors *slog.Logger

	path    string
	journal *journal.Journal
	lines   *accesslog.LineWriter // to the file of the access log; nil = there is none
}

// OpenLogs opens the access log, and makes the output of package log a part of the
// error log. The caller closes the Logs, before the journal.
func OpenLogs(flags *args.Values, j *journal.Journal) (*Logs, error) {
	l := &Logs{Access: j.Log, Errors: j.Log, path: flags.String("access-log"), journal: j}
	// What net/http reports about origin servers matters only when debugging.
	log.SetOutput(slog.NewLogLogger(l.Errors.Handler(), slog.LevelDebug).Writer())
	log.SetFlags(0)
	if l.toStderr() {
		return l, nil
	}
	file, err := openLogFile(l.path)
	if err != nil {
		return nil, &args.Error{Message: fmt.Sprintf("cannot open the access log: %v", err), ExitCode: tunnel.ExitUnexpected,
			Hint: "its folder must exist and be writable; --access-log - logs to stderr"}
	}
	format := flags.String("log-format")
	l.lines = accesslog.NewLineWriter(file, accesslog.LineOptions{
		Format: format,
		Behind: func() { j.Warn("the access log %s takes lines too slowly, and some are lost", l.path) },
		Broken: func(err error) { j.Warn("cannot write the access log, lines are lost from here on: %v", err) },
		Mended: func() { j.Warn("the access log %s is written again", l.path) },
	})
	l.Access = slog.New(accesslog.NewHandler(l.lines, format, flags.String("log-level")))
	return l, nil
}

// toStderr reports whether the access log goes to stderr: by its name, or since it is
// another name of the same pipe or terminal, in which the lines of two writers would mix.
func (l *Logs) toStderr() bool {
	if l.path == "-" || l.path == "/dev/stderr" {
		return true
	}
	this, err := os.Stat(l.path)
	if err != nil || this.Mode().IsRegular() {
		return false
	}
	stderr, err := os.Stderr.Stat()
	return err == nil && os.SameFile(this, stderr)
}

// stdout is the path of this process's stdout, which need not be something that can be
// opened by its path.
const stdout = "/dev/stdout"

// openLogFile opens a file to append to. A FIFO is opened at once, whether or not it has
// a reader yet, and stays open when its reader leaves.
func openLogFile(path string) (io.WriteCloser, error) {
	if path == stdout {
		return accesslog.KeepOpen(os.Stdout), nil
	}
	flag := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		flag = os.O_RDWR | syscall.O_NONBLOCK
	}
	return os.OpenFile(path, flag, 0o640)
}

// Reopen opens the file of the access log again, for a program that moved it away. It
// returns the file's name, "" if the log has no file. After an error the log stays where
// it is.
func (l *Logs) Reopen() (name string, err error) {
	if l.lines == nil || l.path == stdout {
		return "", nil
	}
	file, err := openLogFile(l.path)
	if err == nil {
		l.lines.Replace(file)
	}
	return l.path, err
}

// closePatience bounds how long the end of the program waits for the access log.
const closePatience = 500 * time.Millisecond

// Close writes the last lines of the access log, and gives up after half a second.
func (l *Logs) Close() {
	if l.lines == nil {
		return
	}
	if lost := l.lines.Close(closePatience); lost > 0 {
		l.journal.Warn("the access log %s is not complete: %d lines lost at the end", l.path, lost)
	}
}
