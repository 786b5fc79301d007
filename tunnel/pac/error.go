package pac

import (
	"culvert/tunnel/internal/wire"
)

// Stage is the stage in which an Error arose.
type Stage string

// The stages in their order.
const (
	StageDiscover Stage = "discover" // finding a script
	StageLoad     Stage = "load"     // reading it
	StageRun      Stage = "run"      // running it: it failed, or was stopped
	StageAnswer   Stage = "answer"   // parsing its answer
)

// Error is the error type of this package. If a time limit was exceeded, it wraps
// context.DeadlineExceeded; for a network error it wraps the error of package net.
type Error struct {
	Stage  Stage
	Source string // that of the Script
	Detail string // the cause on one line, escaped; "" = Err says it
	Hint   string // what to do about it, "" if there is nothing
	Line   int    // the line of the script, from 1; 0 = unknown
	Err    error  // the underlying error; may be nil
}

// maxText limits the text of a script that an Error or an Answer quotes, in bytes.
const maxText = 300

// Error returns the script and the cause on one line, escaped.
func (e *Error) Error() string {
	text := "proxy script"
	if e.Source != "" {
		text += " " + escape(e.Source)
	}
	switch {
	case e.Detail != "" && e.Err != nil:
		return text + ": " + e.Detail + ": " + escape(e.Err.Error())
	case e.Err != nil:
		return text + ": " + escape(e.Err.Error())
	}
	return text + ": " + e.Detail
}

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// escape returns foreign text as one line of limited length.
func escape(s string) string { return wire.Escape([]byte(s), maxText) }
