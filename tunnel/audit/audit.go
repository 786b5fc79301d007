// Package audit is a conformance suite for CONNECT in HTTP proxies: authority-form,
// refusals and how their connections close, what a tunnel must carry, CONNECT over
// HTTP/2, and plain HTTP through the same proxy. It also surveys which ports and which
// addresses a proxy opens tunnels to, and compares two reports.
//
// Each check is a row in one of the tables in checks_*.go. It sends the proxy bytes of
// its own, and observes at a target of the audit's own what comes through.
//
// The package promises that a report is printable ASCII and contains no credentials,
// whatever a proxy sends. It never imports the command line, nor the server in package
// proxy.
package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
)

// DefaultPatience is the default of Auditor.Patience.
const DefaultPatience = 5 * time.Second

const (
	defaultQuiet = 300 * time.Millisecond
	defaultBulk  = 64 << 20
)

// Auditor runs the checks against one proxy. Client is required; its Route must have a
// hop.
type Auditor struct {
	// Client names the proxy, the last hop of its Route. Its credentials are sent
	// with every request that does not leave them out on purpose, by the scheme that
	// the proxy accepts.
	Client *client.Client

	// Listen is where the audit's own target listens, HOST:PORT. If it is "" and the
	// proxy is on loopback, the target listens on any port of 127.0.0.1 or, if the
	// proxy refuses that, on the first of 443, 80, 8443 and 8080 that it allows. If
	// the proxy is elsewhere there is no target, and the checks that need one are
	// skipped.
	Listen string

	// Announce is what the proxy is asked to connect to; zero = the listener's
	// address or, for a wildcard listener, the address from which the proxy is
	// reached.
	Announce tunnel.Authority

	// Target is what tunnels are opened to if there is no target of the audit's own;
	// zero = none. It serves the checks that need nothing more than a tunnel.
	Target tunnel.Authority

	// Patience is how long to wait for what should come, 0 = DefaultPatience; Quiet
	// is how long to wait for what should not, 0 = 300 ms.
	Patience, Quiet time.Duration

	// Bulk is how many bytes each check of bulk transfer sends; 0 = 64 MiB.
	Bulk int64

	// Idle is how long a tunnel is left silent; 0 = the check is skipped.
	Idle time.Duration

	// Slow is how long a request head is sent byte by byte, and a connection left
	// silent, while the proxy should end them; 0 = the checks are skipped.
	Slow time.Duration

	// Only lists the checks to run, by id or by the name of their group; nil = all.
	Only []string

	// Progress is called before each check, and once after the last; nil = not called.
	Progress func(done, all int, id string)
}

// check is a row of a table: what is demanded, by which rule, what the check needs, and
// how it is tried.
type check struct {
	id, title, rfc string
	level          probe.Level
	needs          need
	try            func(*trial)
}

// need is a condition without which a check is skipped.
type need uint8

const (
	needNothing need = iota
	needOpen         // a target to which the proxy opens tunnels
	needTarget       // a target of the audit's own to which it does
	needPlain        // one to which it sends plain requests
	needHTTP2        // one to which it opens tunnels over HTTP/2
)

// group is a table of checks with its name and heading.
type group struct {
	name, title string
	checks      []check
}

var groups = []group{
	{"open", "opening a tunnel", opening},
	{"target", "the request's target", targets},
	{"head", "the request's head", heads},
	{"refusal", "refusing a tunnel", refusals},
	{"tunnel", "the open tunnel", tunnels},
	{"plain", "plain HTTP", plain},
	{"http2", "CONNECT over HTTP/2", overHTTP2},
}

// outcome is the grade of a check and the reason for it.
type outcome struct {
	grade probe.Grade
	words string
}

// bench holds what the checks of one run share.
type bench struct {
	*Auditor
	target   *target            // nil = there is none
	asked    tunnel.Authority   // what tunnels are opened to; zero = nothing
	closed   tunnel.Authority   // an authority beside the target's where nothing listens
	login    *client.ProxyLogin // nil = the proxy takes no credentials
	rejected bool               // the proxy refused the credentials
	missing  map[need]string    // the reason for each need that is not met
	identity []string           // what the proxy says about itself, a field line each

	// Results of the requests by which prepare finds out what the proxy lets through.
	whyMoved    string // why the target has another port than the first one; "" = it has not
	replies     int    // how many replies came
	lastCode    int    // the exit code that the last request would have as a single exchange
	firstCode   int    // the exit code of the first one, which asked for a tunnel
	refusedBy   int    // the status by which the proxy refuses a tunnel to the authority in field asked; 0 = it opens one, or gives no answer
	plainHTTP10 bool   // the proxy answers plain requests in HTTP/1.0
}

// CheckOnly returns an error that quotes the first word that is neither a check nor a
// group, nil if there is none.
func CheckOnly(only []string) error {
	for _, word := range only {
		known := slices.ContainsFunc(groups, func(g group) bool {
			return g.name == word || slices.ContainsFunc(g.checks, func(c check) bool { return c.id == word })
		})
		if !known {
			return fmt.Errorf("there is no check and no group %q", wire.Escape([]byte(word), 60))
		}
	}
	return nil
}

// wants reports whether a check is to be run.
func (a *Auditor) wants(g group, c check) bool {
	return len(a.Only) == 0 || slices.Contains(a.Only, g.name) || slices.Contains(a.Only, c.id)
}

// Run tries the checks, one after the other. The error is a *tunnel.Error if the proxy
// cannot be reached, a *ListenError if the target cannot listen, or that of the context.
func (a *Auditor) Run(ctx context.Context) (*Report, error) {
	b := &bench{Auditor: a.withDefaults(), missing: make(map[need]string)}
	if err := CheckOnly(a.Only); err != nil {
		return nil, err
	}
	r := &Report{Schema: Schema, Started: time.Now().UTC(), By: ascii(a.Client.UserAgent)}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	defer b.close()
	all := 0
	for _, g := range groups {
		for _, c := range g.checks {
			if a.wants(g, c) {
				all++
			}
		}
	}
	for _, g := range groups {
		for _, c := range g.checks {
			if !a.wants(g, c) {
				continue
			}
			if a.Progress != nil {
				a.Progress(len(r.Results), all, c.id)
			}
			r.Results = append(r.Results, b.run(ctx, g, c))
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	if a.Progress != nil {
		a.Progress(all, all, "")
	}
	hops := a.Client.Route.Hops
	r.Proxy, r.Identity = hops[len(hops)-1].String(), b.identity
	r.Target, r.Moved, r.Took = b.asked.String(), ascii(b.masked(b.whyMoved)), micros(time.Since(r.Started))
	r.Refused = b.refusedBy
	if b.login != nil {
		r.Login = b.login.Scheme()
	}
	if b.asked.IsZero() {
		r.Target = ""
	}
	r.sum()
	r.Verdict = r.verdict()
	switch {
	case r.Failed():
		r.ExitCode = tunnel.ExitCheck
	case r.Inconclusive():
		r.ExitCode = cmp.Or(b.firstCode, tunnel.ExitUsage)
	}
	return r, nil
}

// withDefaults returns a copy of a with the defaults filled in.
func (a *Auditor) withDefaults() *Auditor {
	full := *a
	if full.Patience == 0 {
		full.Patience = DefaultPatience
	}
	if full.Quiet == 0 {
		full.Quiet = defaultQuiet
	}
	if full.Bulk == 0 {
		full.Bulk = defaultBulk
	}
	return &full
}

// run runs one check.
func (b *bench) run(ctx context.Context, g group, c check) Result {
	r := Result{ID: c.id, Group: g.name, Title: c.title, RFC: c.rfc, Level: c.level}
	started := time.Now()
	if why := b.missing[c.needs]; why != "" {
		r.Grade, r.Evidence = probe.Skip, why
		return r
	}
	t := &trial{bench: b, ctx: ctx}
	defer t.end()
	o := t.attempt(c.try)
	if c.level == policyLevel && o.grade == probe.Fail {
		o.grade = probe.Warn // no standard demands it
	}
	r.Grade, r.Evidence, r.Took = o.grade, ascii(b.masked(o.words)), micros(time.Since(started))
	if o.grade == probe.Fail || o.grade == probe.Warn {
		r.Sent, r.Received = t.evidence()
	}
	return r
}

// close stops the target.
func (b *bench) close() {
	if b.target != nil {
		b.target.close()
	}
}
