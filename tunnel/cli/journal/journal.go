// Package journal is the stderr of a verb that serves: log lines, and messages to a
// person, all by one accesslog.LineWriter.
//
// It promises that no caller waits for the reader of stderr, and that in the format
// "json" every line is a JSON record, messages to a person and the error that ends the
// program included.
//
// It knows neither flags nor what the lines say, and never imports urfave/cli nor
// fatih/color.
package journal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/panics"
)

// Words make lines of text of messages to a person.
type Words struct {
	Talk  func(message string) string       // one line
	Error func(message, hint string) string // what ended the program, and what to do next; hint may be ""
}

// Journal is a stderr to which log lines and messages are written. Its methods are safe
// for concurrent use.
type Journal struct {
	Log *slog.Logger // of the level that Open was given

	words    Words
	lines    *accesslog.LineWriter
	messages slog.Handler // of messages to a person, at any level; nil = they are text
}

// Open returns a Journal that writes to w, which it does not close. The format is "text"
// or "json", the level the name of one of slog's for log lines; messages to a person are
// always written. Panics that end a connection are logged too. The caller closes the
// Journal.
func Open(w io.Writer, format, level string, words Words) *Journal {
	j := &Journal{words: words, lines: accesslog.NewLineWriter(accesslog.KeepOpen(w), accesslog.LineOptions{Format: format})}
	j.Log = slog.New(accesslog.NewHandler(j.lines, format, level))
	if format == "json" {
		j.messages = accesslog.NewHandler(j.lines, format, "debug")
	}
	panics.Handle(func(r panics.Report) {
		j.Log.Error("a bug of culvert ended this connection: please report it", "where", r.Where, "panic", fmt.Sprint(r.Value), "count", r.Count, "stack", r.Stack)
	})
	return j
}

// Say writes a message to a person.
func (j *Journal) Say(format string, a ...any) {
	j.write(slog.LevelInfo, j.words.Talk, fmt.Sprintf(format, a...))
}

// Warn is Say for something that is wrong.
func (j *Journal) Warn(format string, a ...any) {
	j.write(slog.LevelWarn, j.words.Talk, fmt.Sprintf(format, a...))
}

// Fail writes what ended the program, with a hint about what to do next, or "".
func (j *Journal) Fail(message, hint string) {
	text := func(message string) string { return j.words.Error(message, hint) }
	if hint == "" {
		j.write(slog.LevelError, text, message)
	} else {
		j.write(slog.LevelError, text, message, slog.Attr{Key: "hint", Value: slog.StringValue(hint)})
	}
}

func (j *Journal) write(level slog.Level, text func(string) string, message string, attrs ...slog.Attr) {
	if j.messages == nil {
		_, _ = io.WriteString(j.lines, text(message)) // fails only after Close
		return
	}
	record := slog.NewRecord(time.Now(), level, message, 0)
	record.AddAttrs(attrs...)
	_ = j.messages.Handle(context.Background(), record) // fails only after Close
}

// closePatience bounds how long the end of the program waits for the reader of stderr.
const closePatience = 500 * time.Millisecond

// Close writes the lines that are waiting. It gives up after half a second.
func (j *Journal) Close() { j.lines.Close(closePatience) }
