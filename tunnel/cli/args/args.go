// Package args is the mechanism of a command line with verbs. From one table of
// flags per verb it makes the parser, the environment's variables, the help, the
// manual page and the completion scripts.
//
// It promises that flags may stand anywhere on the line, that a value which is
// not of its flag's kind is refused before anything is done, naming the flag as
// it was typed or the variable that it came from, and that every value is read
// through Values.
//
// It imports nothing but the standard library, and knows no flag's meaning but
// that of help.
package args

import (
	"fmt"
	"strings"
	"unicode"
)

// Error is a mistake on the command line, or in the environment, and what to do
// about it.
type Error struct {
	Message, Hint string
	ExitCode      int // 0 = that of usage errors
}

// Error returns the message alone, on one line.
func (e *Error) Error() string { return e.Message }

// Usagef returns an *Error with the exit code of usage errors.
func Usagef(hint, format string, a ...any) error {
	return &Error{Message: fmt.Sprintf(format, a...), Hint: hint}
}

// Printable returns s on one line, without characters that a terminal acts on.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
