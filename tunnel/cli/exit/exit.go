// Package exit says how a command ends: with which message, which hint about what
// to do next, and which exit code.
//
// It promises that every error has an exit code, and that a failed tunnel is told
// in words for a person. It prints nothing and does not end the program: package main
// does.
//
// It never imports urfave/cli nor fatih/color, nor a package of one verb.
package exit

import (
	"cmp"
	"errors"
	"fmt"
	"syscall"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/explain"
	"culvert/tunnel/stdio"
)

// Error is an error with a hint and an exit code.
type Error struct {
	Err  error  // nil = end without a message
	Hint string // "" = none
	Code int    // 0 = the exit code of Err
}

// Error returns the message alone, "" if there is none.
func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Code returns an error that ends the program with that exit code and no message,
// nil for tunnel.ExitOK.
func Code(code int) error {
	if code == tunnel.ExitOK {
		return nil
	}
	return &Error{Code: code}
}

// Of returns how an error ends the program: a nil error with tunnel.ExitOK, an *Error as
// it says, an *args.Error as a usage error, and any other with its own exit code.
func Of(err error) (e Error) {
	var known *Error
	var mistake *args.Error
	switch {
	case errors.As(err, &known):
		e = *known
	case errors.As(err, &mistake):
		e = Error{Err: err, Hint: mistake.Hint, Code: cmp.Or(mistake.ExitCode, tunnel.ExitUsage)}
	default:
		e.Err = err
	}
	e.Code = cmp.Or(e.Code, tunnel.ExitCode(e.Err))
	return e
}

// Explained returns an error of a tunnel in words for a person, nil for nil.
func Explained(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, stdio.ErrOutputClosed):
		return Stdout(syscall.EPIPE)
	}
	sentence, hint := explain.Error(err)
	return &Error{Err: errors.New(sentence), Hint: hint, Code: tunnel.ExitCode(err)}
}

// Stdout returns the error of a failed write to stdout. If the reader is gone, the
// program ends as by SIGPIPE: the runtime does that only for writes of package os,
// and not where SIGPIPE is ignored.
func Stdout(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return Signal(syscall.SIGPIPE)
	}
	return fmt.Errorf("stdout: %w", err)
}

// Signal returns an error that ends the program as a shell reports a program that
// the signal ended: with 128 and its number, and no message.
func Signal(s syscall.Signal) error { return &Error{Code: 128 + int(s)} }
