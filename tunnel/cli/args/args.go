// Package args parses a command line with verbs. One table of flags per verb serves
// the parser, the environment variables, the help, the manual page and the completion
// scripts.
//
// It promises that flags may stand anywhere on the line, that a value of the wrong
// kind is refused before the verb runs, by an error that names the flag as it was
// typed or the environment variable, and that every value is read through Values.
//
// It imports nothing but the standard library, and knows the meaning of no flag but
// those that print a page: help, version, man and completion.
package args

import (
	"fmt"
	"strings"
	"unicode"
)

// Error is a mistake on the command line or in the environment, with a hint how to
// correct it.
type Error struct {
	Message, Hint string
	ExitCode      int // 0 = that of usage errors
}

// Error returns the message without the hint. Messages quote what was typed, which may
// be a URL in a place where none belongs: its user name and password are hidden.
func (e *Error) Error() string { return hideUserinfo(e.Message, true) }

// Usagef returns an *Error with the exit code of usage errors. The format is that of
// the message.
func Usagef(hint, format string, a ...any) error {
	return &Error{Message: fmt.Sprintf(format, a...), Hint: hint}
}

// Printable returns s with a space for each control character, so that it is one line
// and a terminal acts on nothing in it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
