package accesslog

import (
	"io"
	"log/slog"
	"sync/atomic"
)

// NewHandler writes records to w in a format, "text" or "json", from a level
// on, which is one of slog's names.
func NewHandler(w io.Writer, format, level string) slog.Handler {
	var from slog.Level
	_ = from.UnmarshalText([]byte(level)) // info if it is none
	options := &slog.HandlerOptions{Level: from}
	if format == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// Writer writes a log, and tells when that cannot be done, as on a full disk,
// and when it can again: once each. Whoever logs goes on.
type Writer struct {
	W      io.Writer
	Broken func(err error) // lines are lost from here on
	Mended func()          // and are written again

	broken atomic.Bool
}

// Write implements io.Writer.
func (l *Writer) Write(b []byte) (int, error) {
	n, err := l.W.Write(b)
	switch failed := err != nil; {
	case !l.broken.CompareAndSwap(!failed, failed):
	case failed:
		l.Broken(err)
	default:
		l.Mended()
	}
	return n, err
}
