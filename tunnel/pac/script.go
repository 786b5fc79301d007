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

// DefaultTimeout is how long a script may take for one answer, the names it
// looks up included.
const DefaultTimeout = 5 * time.Second

// afterwards is how long a script that was told to stop has for it. What does
// not heed that, as some of the engine's own functions on huge values, is left
// behind.
const afterwards = 250 * time.Millisecond

// Script is a proxy auto-config script. It may be asked by several goroutines
// at once if its fields are not changed meanwhile: every Find starts it afresh,
// so nothing that it remembers lasts.
type Script struct {
	// Source is the file or URL it came from, without credentials, for messages.
	Source string

	// Text is the script itself.
	Text string

	// Timeout bounds one Find; 0 = DefaultTimeout, negative = none.
	Timeout time.Duration

	// Resolver looks names up for the script; nil = the system's.
	Resolver dialer.Resolver

	// Now is the clock of weekdayRange, dateRange and timeRange, in the local
	// time zone; nil = time.Now. A script's own Date has the system's.
	Now func() time.Time

	// Addresses returns this machine's addresses for myIpAddress, the best
	// first; nil = the one that packets to the world would leave from, then
	// those of the interfaces.
	Addresses func() []netip.Addr

	// Alert is called for each alert of the script, escaped and on one line,
	// while Find runs and on another goroutine; nil = they are only in the Answer.
	Alert func(message string)
}

// Answer is what a script made of one target, and how: for who wants to know
// why. Texts are escaped and bounded.
type Answer struct {
	Script   string         // its Source
	Function string         // FindProxyForURL, or FindProxyForURLEx
	URL      string         // what it was asked about
	Returned string         // its answer as it came; "" also for null
	Routes   []tunnel.Route // the answer's ways, in order; never empty without an error
	Skipped  []string       // parts of the answer that are no way for culvert, each with a reason
	Alerts   []string       // what it said with alert, the first 100
	Lookups  []Lookup       // the names that were looked up for it, the first 100
	Took     time.Duration
}

// Lookup is a name that a script had looked up.
type Lookup struct {
	Name  string
	Addrs []netip.Addr
	Err   error // nil if there are addresses
}

// Find asks the script for the way to a target. With an error, an *Error, the
// Answer holds what is known none the less; it is never nil. The Answer's first
// route is for tunnel.Client.Route, the others are for tunnel.Client.Or; their
// Source is the script's. The context, and Timeout, cover all of it.
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

// urlOf is what a script is asked about a target.
func urlOf(target tunnel.Authority) string {
	authority := target.String()
	if target.Port() == 443 {
		authority = strings.TrimSuffix(authority, ":443")
	}
	return "https://" + authority + "/"
}

// kindWords puts JavaScript's typeof into a sentence.
func kindWords(kind string) string {
	switch kind {
	case "undefined":
		return "nothing"
	case "object":
		return "an object"
	}
	return "a " + kind
}

// tooLong is the cause of a context that the script's own limit ended.
type tooLong struct{ limit time.Duration }

func (t *tooLong) Error() string { return "it took longer than " + t.limit.String() }
func (t *tooLong) Unwrap() error { return context.DeadlineExceeded }

// fault is what the engine says of a script that failed.
type fault struct {
	text string
	line int // 0 = unknown
}

func (f *fault) Error() string { return f.text }

// failure is the *Error for a run that gave no answer.
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
