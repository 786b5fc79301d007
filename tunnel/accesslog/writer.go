package accesslog

import (
	"io"
	"log/slog"
	"sync/atomic"
)

// NewHandler returns a handler that writes to w in a format, "text" or "json". It
// drops records below level, which is the name of one of slog's levels; any other
// text means info.
func NewHandler(w io.Writer, format, level string) slog.Handler {
	var from slog.Level
	_ = from.UnmarshalText([]byte(level)) // info if it is no name of a level
	options := &slog.HandlerOptions{Level: from}
	if format == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// Writer writes a log to W. It reports once that W fails, as on a full disk, and once
// that W works again, so that a proxy can go on without its log.
type Writer struct {
	W      io.Writer
	Broken func(err error) // called when a write fails after one that did not; lines are lost
	Mended func()          // called when a write succeeds after one that failed

	broken atomic.Bool
}

// Write implements io.Writer. It returns the result of W.
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
