package accesslog

import (
	"io"
	"log/slog"
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
