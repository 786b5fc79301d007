package pac

import (
	"culvert/tunnel/internal/wire"
)

// Stage is where an Error arose.
type Stage string

// The stages, in the order in which a script passes them.
const (
	StageDiscover Stage = "discover" // no script was found
	StageLoad     Stage = "load"     // it could not be read
	StageRun      Stage = "run"      // it failed, or was stopped
	StageAnswer   Stage = "answer"   // what it returned is no way to anywhere
)

// Error is every failure of this package. A time limit that passed is
// context.DeadlineExceeded to errors.Is, an address that does not answer is
// what package net says of it.
type Error struct {
	Stage  Stage
	Source string // the script, as its Source
	Detail string // the cause, one line, escaped; "" = Err says it
	Hint   string // what to do about it, "" if there is nothing
	Line   int    // where in the script, from 1; 0 = unknown
	Err    error  // what lies beneath, may be nil
}

// maxText bounds what of a script's own words an Error or an Answer holds, in
// bytes.
const maxText = 300

// Error names the script and the cause on one line, escaped.
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

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Err }

// escape makes one bounded line of foreign text.
func escape(s string) string { return wire.Escape([]byte(s), maxText) }
