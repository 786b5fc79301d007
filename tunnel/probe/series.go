package probe

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"culvert/tunnel"
)

// Series probes the same target again and again, and sums up. Prober is
// required.
type Series struct {
	Prober *Prober

	Count    int           // tries; 0 = until the context ends
	Interval time.Duration // from the start of one try to that of the next
	Parallel int           // tries under way at once, at most; 0 = one
}

// Try is one probe of a Series.
type Try struct {
	Number  int       `json:"n"` // from 1
	Started time.Time `json:"started"`
	Verdict Verdict   `json:"verdict"`
	Total   Micros    `json:"total_us"` // until the tunnel was open, or it was certain that there is none
	Phases  []Span    `json:"phases"`
}

// Summary is what came of a Series.
type Summary struct {
	Schema   int              `json:"schema"`
	Started  time.Time        `json:"started"`
	Target   tunnel.Authority `json:"target"`
	Plan     Plan             `json:"plan"`
	Tries    []Try            `json:"tries,omitempty"` // if they were kept
	Count    int              `json:"count,omitempty"` // tries that were asked for; 0 = no number of them
	Done     int              `json:"done"`
	Cut      bool             `json:"interrupted,omitempty"` // it was ended before Count tries were done
	Opened   int              `json:"opened"`
	Phases   []PhaseTimes     `json:"phases"`   // in the order in which a tunnel passes them, "total" last
	Failures []Failures       `json:"failures"` // most frequent first
}

// PhaseTimes is how long one phase took, of the tries in which it was finished;
// "total", of those that opened a tunnel if any did, else of all.
type PhaseTimes struct {
	Phase string `json:"phase"`
	Tries int    `json:"tries"`
	Min   Micros `json:"min_us"`
	P50   Micros `json:"p50_us"` // percentiles by nearest rank
	P90   Micros `json:"p90_us"`
	P99   Micros `json:"p99_us"`
	Max   Micros `json:"max_us"`
}

// Failures counts the tries of one verdict, for one cause.
type Failures struct {
	Kind     VerdictKind `json:"kind"`
	Error    string      `json:"error,omitempty"` // RFC 9209 token
	Tries    int         `json:"tries"`
	Sample   string      `json:"sample"` // the first one's words
	Hint     string      `json:"hint,omitempty"`
	ExitCode int         `json:"exit_code"`
}

// phaseTotal stands for a try as a whole.
const phaseTotal = "total"

// phaseOrder is the order of a Summary.
var phaseOrder = []string{SpanResolve, SpanConnect, SpanTLSProxy, SpanSOCKSGreeting, SpanSOCKSAuthentication, SpanSOCKSConnect, SpanRequest, SpanFirstReplyByte, SpanReplyComplete, SpanTLSInside, SpanFirstTunnelByte, SpanClose, phaseTotal}

// Run probes until Count tries are done, or the context ends: then what was
// under way is left out. tell gets each try as it ends, one at a time. keep
// leaves the tries in the report, which takes memory for each. The error is
// Probe's, for a request that cannot be sent.
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
	sum.fail(ctx.Err()) // it ended before a try could say so
	return sum.report, sum.finish()
}

// seriesSum gathers tries as they end.
type tally struct {
	keep   bool
	onTry  func(Try)
	mu     sync.Mutex
	report *Summary
	times  map[string][]Micros
	// The totals of tries that opened no tunnel: mixed with the others they would
	// tell of neither.
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
	took := make(map[string]Micros) // the hops' together
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

// count adds a failure to those of its class.
func (r *Summary) count(v Verdict) {
	i := slices.IndexFunc(r.Failures, func(f Failures) bool { return f.Kind == v.Kind && f.Error == v.Error && f.ExitCode == v.ExitCode })
	if i < 0 {
		i = len(r.Failures)
		r.Failures = append(r.Failures, Failures{Kind: v.Kind, Error: v.Error, Sample: v.Words, Hint: v.Hint, ExitCode: v.ExitCode})
	}
	r.Failures[i].Tries++
}

// end makes the sums, and returns the error that ended the series.
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
		return nil // it was ended, and has something to show
	}
	return s.err
}

// ExitCode is ExitOK if every try opened, else that of the most frequent failure.
func (r *Summary) ExitCode() int {
	if len(r.Failures) == 0 {
		return tunnel.ExitOK
	}
	return r.Failures[0].ExitCode
}
