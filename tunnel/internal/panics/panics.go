// Package panics keeps a panic in one connection or tunnel from ending all others.
//
// It promises that a goroutine which defers Recover does not end the program: the panic
// is reported with its stack, counted, and ends what the goroutine was for. It imports
// nothing of this module.
package panics

import (
	"errors"
	"log"
	"runtime/debug"
	"sync/atomic"
)

// Report says what panicked.
type Report struct {
	Where string // what the goroutine was for, as "relay"
	Value any    // of the panic
	Stack string
	Count int64 // of the panics since the start, this one included
}

var (
	count    atomic.Int64
	reporter atomic.Pointer[func(Report)]
)

// Handle sets the function that gets the reports, of any goroutine; nil = they are
// written by package log. There is one for the whole program, since a panic may come from
// where no log is known.
func Handle(f func(Report)) {
	if f == nil {
		reporter.Store(nil)
		return
	}
	reporter.Store(&f)
}

// Recover is deferred. After a panic it reports it and calls end, which ends what the
// goroutine was for; nil = nothing is left to do.
func Recover(where string, end func()) {
	if value := recover(); value != nil {
		Tell(where, value)
		if end != nil {
			end()
		}
	}
}

// Err is the error of what a panic has kept from its end.
var Err = errors.New("internal error")

// Into is deferred. After a panic it reports it, and sets *err to Err.
func Into(where string, err *error) {
	if value := recover(); value != nil {
		Tell(where, value)
		*err = Err
	}
}

// Tell reports and counts a panic that the caller has recovered from.
func Tell(where string, value any) {
	r := Report{Where: where, Value: value, Stack: string(debug.Stack()), Count: count.Add(1)}
	if f := reporter.Load(); f != nil {
		(*f)(r)
	} else {
		log.Printf("panic in %s: %v\n%s", r.Where, r.Value, r.Stack)
	}
}
