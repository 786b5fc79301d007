package probe

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"culvert/tunnel"
)

// A Series probes the same target again and again, and sums up the results. Prober
// is required.
type Series struct {
	Prober *Prober

	Count    int           // tries; 0 = until the context ends
	Interval time.Duration // from the start of one try to the start of the next
	Parallel int           // most tries to run at once; 0 = one
}

// Try is one probe of a Series.
type Try struct {
	Number  int       `json:"n"` // from 1
	Started time.Time `json:"started"`
	Verdict Verdict   `json:"verdict"`
	Total   Micros    `json:"total_us"` // until the tunnel was open or had failed
	Phases  []Span    `json:"phases"`
}

// Summary sums up a Series.
type Summary struct {
	Schema   int              `json:"schema"`
	Started  time.Time        `json:"started"`
	Target   tunnel.Authority `json:"target"`
	Plan     Plan             `json:"plan"`
	Tries    []Try            `json:"tries,omitempty"` // if Run was told to keep them
	Count    int              `json:"count,omitempty"` // tries asked for; 0 = no limit
	Done     int              `json:"done"`
	Cut      bool             `json:"interrupted,omitempty"` // ended before Count tries were done
	Opened   int              `json:"opened"`
	Phases   []PhaseTimes     `json:"phases"`   // in the order in which a tunnel passes them, "total" last
	Failures []Failures       `json:"failures"` // most frequent first
}

// PhaseTimes says how long one phase took in the tries that finished it. The phase
// "total" counts the tries that opened a tunnel or, if none did, all.
type PhaseTimes struct {
	Phase string `json:"phase"`
	Tries int    `json:"tries"`
	Min   Micros `json:"min_us"`
	P50   Micros `json:"p50_us"` // percentiles by nearest rank
	P90   Micros `json:"p90_us"`
	P99   Micros `json:"p99_us"`
	Max   Micros `json:"max_us"`
}

// Failures counts the tries that failed with one verdict, for one cause.
type Failures struct {
	Kind     VerdictKind `json:"kind"`
	Error    string      `json:"error,omitempty"` // RFC 9209 token
	Tries    int         `json:"tries"`
	Sample   string      `json:"sample"` // the words of the first one's verdict
	Hint     string      `json:"hint,omitempty"`
	ExitCode int         `json:"exit_code"`
}

// phaseTotal stands for a try as a whole.
const phaseTotal = "total"

// phaseOrder is the order of Summary.Phases.
var phaseOrder = []string{SpanResolve, SpanConnect, SpanTLSProxy, SpanSOCKSGreeting, SpanSOCKSAuthentication, SpanSOCKSConnect, SpanRequest, SpanFirstReplyByte, SpanReplyComplete, SpanTLSInside, SpanFirstTunnelByte, SpanClose, phaseTotal}

// Run probes until Count tries are done or the context ends; tries that are running
// then are left out. If onTry is not nil it is called with each try that ends, by
// one goroutine at a time. keep leaves the tries in the Summary, which takes memory
// for each. The error is Probe's, for a request that cannot be sent, or the
// context's if no try was done.
func (s *Series) Run(ctx context.Context, target tunnel.Authority, keep bool, onTry func(Try)) (*Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	prober := *s.Prober
	prober.noFurtherConnections = true
	sum := &tally{keep: keep, onTry: onTry, report: &Summary{Schema: Schema, Started: time.Now().UTC(), Target: target, Count: s.Count, Failures: []Failures{}}}
	places := make(chan struct{}, max(1, s.Parallel))
	var running sync.WaitGroup
	next := time.NewTimer(0)
	defer next.Stop()
	for n := 1; (s.Count == 0 || n <= s.Count) && ctx.Err() == nil; n++ {
		select {
		case <-next.C:
			next.Reset(s.Interval)
		case <-ctx.Done():
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		running.Go(func() {
			defer func() { <-places }()
			r, err := prober.Probe(ctx, target)
			if err != nil {
				sum.fail(err)
				cancel()
				return
			}
			sum.add(n, r)
		})
	}
	running.Wait()
	sum.report.Cut = ctx.Err() != nil && sum.report.Done < s.Count
	sum.fail(ctx.Err()) // the context ended before a try could report it
	return sum.report, sum.finish()
}

// tally adds up tries as they end.
type tally struct {
	keep   bool
	onTry  func(Try)
	mu     sync.Mutex
	report *Summary
	times  map[string][]Micros
	// Totals of tries that opened no tunnel. Mixed with the others, they would be
	// meaningless.
	failedTotals []Micros
	err          error
}

func (s *tally) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *tally) add(n int, r *Report) {
	t := Try{Number: n, Started: r.Started, Verdict: r.Verdict, Phases: r.Timeline, Total: openAfter(r.Timeline)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times == nil {
		s.times = make(map[string][]Micros)
	}
	took := make(map[string]Micros) // of all hops together
	for _, span := range r.Timeline {
		if span.Finished {
			took[span.Phase] += span.Duration
		}
	}
	if r.Verdict.ExitCode == tunnel.ExitOK {
		took[phaseTotal] = t.Total
	} else {
		s.failedTotals = append(s.failedTotals, t.Total)
	}
	for phase, d := range took {
		s.times[phase] = append(s.times[phase], d)
	}
	s.report.Plan = r.Plan
	if s.report.Done++; r.Verdict.ExitCode == tunnel.ExitOK {
		s.report.Opened++
	} else {
		s.report.count(r.Verdict)
	}
	if s.keep {
		s.report.Tries = append(s.report.Tries, t)
	}
	if s.onTry != nil {
		s.onTry(t)
	}
}

// count adds a failure to those with the same verdict and cause.
func (r *Summary) count(v Verdict) {
	i := slices.IndexFunc(r.Failures, func(f Failures) bool { return f.Kind == v.Kind && f.Error == v.Error && f.ExitCode == v.ExitCode })
	if i < 0 {
		i = len(r.Failures)
		r.Failures = append(r.Failures, Failures{Kind: v.Kind, Error: v.Error, Sample: v.Words, Hint: v.Hint, ExitCode: v.ExitCode})
	}
	r.Failures[i].Tries++
}

// finish computes the percentiles, and returns the error that ended the series.
func (s *tally) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Phases = []PhaseTimes{}
	if len(s.times[phaseTotal]) == 0 && len(s.failedTotals) > 0 {
		s.times[phaseTotal] = s.failedTotals
	}
	for _, phase := range phaseOrder {
		if times := s.times[phase]; len(times) > 0 {
			slices.Sort(times)
			rank := func(percent int) Micros { return times[(len(times)*percent+99)/100-1] }
			s.report.Phases = append(s.report.Phases, PhaseTimes{phase, len(times), times[0], rank(50), rank(90), rank(99), times[len(times)-1]})
		}
	}
	slices.SortStableFunc(s.report.Failures, func(a, b Failures) int { return cmp.Compare(b.Tries, a.Tries) })
	if s.report.Done > 0 && (s.err == context.Canceled || s.err == context.DeadlineExceeded) {
		return nil // it was interrupted, but has something to show
	}
	return s.err
}

// ExitCode returns tunnel.ExitOK if every try opened a tunnel, otherwise the code
// of the most frequent failure.
func (r *Summary) ExitCode() int {
	if len(r.Failures) == 0 {
		return tunnel.ExitOK
	}
	return r.Failures[0].ExitCode
}
