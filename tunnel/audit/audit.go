// Package audit is a conformance suite for the CONNECT side of HTTP proxies, and
// for what stands around it: authority-form, refusals and their closing, what a
// tunnel must carry, plain HTTP through the same proxy, CONNECT over HTTP/2.
//
// Each check is one row in one of the tables in checks_*.go. A check talks to
// the proxy in bytes of its own, and sees by a target of the audit's own what
// describeRead through.
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

// Defaults of an Auditor.
const (
	DefaultPatience = 5 * time.Second
	defaultQuiet    = 300 * time.Millisecond
	defaultBulk     = 64 << 20
)

// Auditor runs the checks against one proxy. Client is required.
type Auditor struct {
	// Client names the proxy, the last hop of its Route. Its credentials are shown
	// by the scheme by which the proxy takes them, with every request that does
	// not do without on purpose.
	Client *client.Client

	// Listen is where the audit's own target listens, HOST:PORT; "" = on
	// 127.0.0.1 if the proxy is on loopback, on any port, or if the proxy refuses
	// that on 443, 80, 8443 or 8080, the first that it allows; else there is none,
	// and the checks that need it are skipped.
	Listen string

	// Announce is what the proxy is told to connect to; zero = the listener's
	// address, or where that is a wildcard the address from which the proxy is
	// reached.
	Announce tunnel.Authority

	// Target is asked for where a tunnel alone is needed and there is no target
	// of the audit's own; zero = none.
	Target tunnel.Authority

	// Patience is how long to wait for what should come, Quiet for what should
	// not; 0 = DefaultPatience, DefaultQuiet.
	Patience, Quiet time.Duration

	// Bulk is how many bytes go each way in the checks of fidelity; 0 = DefaultBulk.
	Bulk int64

	// Idle is how long a tunnel is left silent; 0 = that check is skipped.
	Idle time.Duration

	// Slow is how long a head is dripped, and a connection left silent, for the
	// proxy to end them; 0 = those checks are skipped.
	Slow time.Duration

	// Only are the checks to run, by id or by the name of their group; nil = all.
	Only []string

	// Progress is called before each check, and once behind the last; nil = not.
	Progress func(done, all int, id string)
}

// check is one row: what is demanded, by which rule, what it takes, and how it
// is tried.
type check struct {
	id, title, rfc string
	level          probe.Level
	needs          need
	try            func(*trial)
}

// need is what a check cannot do without.
type need uint8

const (
	needNothing need = iota
	needOpen         // a target to which the proxy opens tunnels
	needTarget       // a target of our own to which it does
	needPlain        // and one to which it sends plain requests
	needHTTP2        // HTTP/2, and the target
)

// group is a table of checks.
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

// outcome is a check's grade and why.
type outcome struct {
	grade probe.Grade
	words string
}

// bench is what the checks of one run share.
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
	refusedBy   int    // the status by which the proxy refuses a tunnel to asked; 0 = it opens one, or gives no answer
	plainHTTP10 bool   // the proxy answers plain requests in HTTP/1.0
}

// CheckOnly says which words of Only are neither a check nor a group.
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

func (a *Auditor) wants(g group, c check) bool {
	return len(a.Only) == 0 || slices.Contains(a.Only, g.name) || slices.Contains(a.Only, c.id)
}

// Run tries all checks, one after the other. The error is that of a proxy that
// cannot be reached at all, an *tunnel.Error, or of the listener, or the
// context's.
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

func (b *bench) close() {
	if b.target != nil {
		b.target.close()
	}
}
