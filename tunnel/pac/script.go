package pac

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/dialer"
)

// DefaultTimeout is the limit for one answer of a script, including its lookups.
const DefaultTimeout = 5 * time.Second

// afterwards is how long a script may take to stop when it is interrupted. One that does
// not, as it is in a function of the engine with a huge value, is left behind.
const afterwards = 250 * time.Millisecond

// Script is a proxy auto-config script. Find is safe for concurrent use if the fields are
// not changed meanwhile. Each Find runs the script in a new engine, so its variables do
// not last.
type Script struct {
	// Source is the file or URL of the script, without credentials, for messages.
	Source string

	// Text is the source of the script.
	Text string

	// Timeout limits one Find; 0 = DefaultTimeout, negative = none.
	Timeout time.Duration

	// Resolver looks up names for the script; nil = the system's.
	Resolver dialer.Resolver

	// Now is the clock of weekdayRange, dateRange and timeRange, in the local
	// time zone; nil = time.Now. Date in a script uses the clock of the system.
	Now func() time.Time

	// Addresses returns the addresses of this machine for myIpAddress, the best
	// first; nil = the source addresses of packets to the Internet, and then those
	// of the interfaces.
	Addresses func() []netip.Addr

	// Alert is called for each alert of the script, escaped and on one line, while
	// Find runs and in another goroutine; nil = alerts are only in the Answer.
	Alert func(message string)
}

// Answer is the answer of a script for one target, and how it came about. Texts are
// escaped and of limited length.
type Answer struct {
	Script   string         // its Source
	Function string         // FindProxyForURL, or FindProxyForURLEx
	URL      string         // the URL that it was asked about
	Returned string         // the string that it returned; "" also for null
	Routes   []tunnel.Route // the routes in order; not empty unless there is an error
	Skipped  []string       // parts of the answer that culvert cannot use, each with the reason
	Alerts   []string       // its calls of alert, the first 100
	Lookups  []Lookup       // the names that it had looked up, the first 100
	Took     time.Duration
}

// Lookup is the result of looking up a name for a script.
type Lookup struct {
	Name  string
	Addrs []netip.Addr
	Err   error // nil if there are addresses
}

// Find asks the script for the way to a target. The first route of the Answer is for
// client.Client.Route, the others are for client.Client.Or; their Source is that of the
// script. Errors are *Error. The Answer is never nil, and contains what is known in spite
// of an error. The context and Timeout limit Find as a whole.
func (s *Script) Find(ctx context.Context, target tunnel.Authority) (*Answer, error) {
	start := time.Now()
	answer := &Answer{Script: s.Source, URL: urlOf(target)}
	defer func() { answer.Took = time.Since(start) }()
	if target.IsZero() {
		return answer, &Error{Stage: StageRun, Source: s.Source, Detail: "there is no target to ask it about"}
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, &tooLong{timeout})
		defer cancel()
	}
	r := newRun(ctx, s)
	said, err := r.ask(program{script: sourceText(s.Text), url: answer.URL, host: target.Host(), call: r.call})
	answer.Alerts, answer.Lookups = r.end()
	answer.Function, answer.Returned = said.function, escape(said.text)
	if err != nil {
		return answer, s.failure(ctx, err)
	}
	if said.kind != kindString && said.kind != kindNull {
		return answer, &Error{Stage: StageAnswer, Source: s.Source,
			Detail: fmt.Sprintf("%s returned %s, not a text such as PROXY HOST:PORT", said.function, kindWords(said.kind))}
	}
	routes, skipped, err := parseList(said.text, target)
	answer.Routes, answer.Skipped = routes, skipped
	if err != nil {
		return answer, &Error{Stage: StageAnswer, Source: s.Source, Detail: err.Error()}
	}
	for i := range answer.Routes {
		answer.Routes[i].Source = s.Source
	}
	return answer, nil
}

// urlOf returns the URL that a script is asked about.
func urlOf(target tunnel.Authority) string {
	authority := target.String()
	if target.Port() == 443 {
		authority = strings.TrimSuffix(authority, ":443")
	}
	return "https://" + authority + "/"
}

// kindWords returns a value of typeof in words.
func kindWords(kind string) string {
	switch kind {
	case "undefined":
		return "nothing"
	case "object":
		return "an object"
	}
	return "a " + kind
}

// tooLong is the cause of a context that ended by the Timeout of this package.
type tooLong struct{ limit time.Duration }

func (t *tooLong) Error() string { return "it took longer than " + t.limit.String() }
func (t *tooLong) Unwrap() error { return context.DeadlineExceeded }

// fault is the error of the engine for a script that failed.
type fault struct {
	text string
	line int // 0 = unknown
}

func (f *fault) Error() string { return f.text }

// failure returns the *Error for a run without an answer.
func (s *Script) failure(ctx context.Context, err error) *Error {
	e := &Error{Stage: StageRun, Source: s.Source}
	var long *tooLong
	var wrong *fault
	switch {
	case errors.As(context.Cause(ctx), &long):
		e.Detail, e.Err = "stopped", long
		e.Hint = "an endless loop, or a name server that does not answer, may be the cause"
	case ctx.Err() != nil:
		e.Detail, e.Err = "stopped", context.Cause(ctx)
	case errors.As(err, &wrong):
		e.Detail, e.Line = escape(wrong.text), wrong.line
		if wrong.line > 0 {
			e.Detail = fmt.Sprintf("line %d: %s", wrong.line, e.Detail)
		}
	default:
		e.Err = err
	}
	return e
}
