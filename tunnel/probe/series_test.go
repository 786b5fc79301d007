package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// seriesAt runs a series of probes that do not read from their tunnels.
func seriesAt(t *testing.T, s *Series, proxy string) (*Summary, []Try) {
	t.Helper()
	s.Prober = &Prober{Client: clienttest.Proxied(t, proxy), Wait: -1}
	var tries []Try
	r, err := s.Run(t.Context(), testkit.MustAuthority(t, "example.com:22"), true, func(try Try) { tries = append(tries, try) })
	if err != nil {
		t.Fatal(err)
	}
	return r, tries
}

// Only the first try asks what login the proxy wants.
func TestSeriesRemembersTheLogin(t *testing.T) {
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if value != "" {
			return testkit.TunnelOpen, true
		}
		return testkit.Reply407(`Digest realm="r", nonce="n", qop="auth"`), true
	})
	r, _ := seriesAt(t, &Series{Count: 3}, "http://me:x@"+p.Addr())
	if got := p.Schemes(); r.Opened != 3 || got != ",Digest,Digest,Digest" {
		t.Errorf("%d open, shown: %q", r.Opened, got)
	}
}

// Failures are counted by class, and the most frequent one determines the exit
// code.
func TestSeriesCounts(t *testing.T) {
	replies := []string{"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 403 No\r\n\r\n", "HTTP/1.1 502 No\r\n\r\n", "HTTP/1.1 403 Never\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"}
	var n atomic.Int32
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		conn.Read(make([]byte, 1024))
		conn.Write([]byte(replies[n.Add(1)-1]))
	})
	r, tries := seriesAt(t, &Series{Count: len(replies)}, proxy.Addr())
	if r.Done != 5 || r.Opened != 2 || len(tries) != 5 || len(r.Tries) != 5 || r.ExitCode() != tunnel.ExitRefused {
		t.Errorf("%d done, %d open, %d told, exit %d", r.Done, r.Opened, len(tries), r.ExitCode())
	}
	if len(r.Failures) != 2 || r.Failures[0].Kind != VerdictDenied || r.Failures[0].Tries != 2 || !strings.Contains(r.Failures[0].Sample, "403 No") {
		t.Errorf("%+v", r.Failures)
	}
	for i, try := range tries {
		if try.Number != i+1 || try.Total <= 0 || (try.Verdict.ExitCode == 0) != (i == 0 || i == 4) {
			t.Errorf("%+v", try)
		}
	}
	total := r.Phases[len(r.Phases)-1]
	if total.Phase != phaseTotal || total.Tries != 2 || total.Min > total.P50 || total.P50 > total.P90 || total.P99 > total.Max {
		t.Errorf("%+v", total)
	}
	var text, doc bytes.Buffer
	r.WriteText(&text, terminal.Style{})
	if !strings.Contains(text.String(), ": 5 tries, 2 open\n") || !strings.Contains(text.String(), "\n  failed               2  denied by policy (403 No)\n") {
		t.Errorf("%s", &text)
	}
	r.WriteJSON(&doc)
	var back Summary
	if err := json.Unmarshal(doc.Bytes(), &back); err != nil || back.Done != 5 || len(back.Tries) != 5 {
		t.Errorf("%v: %s", err, &doc)
	}
}

// The table fits the width, with fewer columns rather than folded lines. Without a
// known width nothing is wider than 80 columns.
func TestSeriesSumsFit(t *testing.T) {
	for _, tt := range []struct {
		width int
		most  Micros
		head  string
	}{
		{40, 12_345, "p50    max"}, {40, 99_999_999, "p50"}, {60, 12_345, "min    p50    p90    p99    max"},
		{60, 99_999_999, "p50       p90       max"}, {80, 12_345, "min    p50    p90    p99    max"},
		{0, 99_999_999, "min       p50       p90       p99       max"}, {200, 99_999_999, "min       p50       p90       p99       max"},
	} {
		r := &Summary{Target: testkit.MustAuthority(t, "example.com:22"), Plan: Plan{Hops: []string{"http://proxy.example:3128"}}, Done: 1_000_000}
		for _, phase := range phaseOrder {
			r.Phases = append(r.Phases, PhaseTimes{phase, 1_000_000, tt.most, tt.most, tt.most, tt.most, tt.most})
		}
		r.Failures = []Failures{{Tries: 3, Sample: strings.Repeat("some words ", 20) + "end"}}
		var text bytes.Buffer
		if err := r.WriteText(&text, terminal.Style{Width: tt.width, Wrap: true}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		for _, line := range lines {
			if len(line) > (terminal.Style{Width: tt.width}).Columns() {
				t.Errorf("%d columns at %d: %q", len(line), tt.width, line)
			}
		}
		if !slices.ContainsFunc(lines, func(line string) bool {
			return strings.Join(strings.Fields(line), " ") == "ms tries "+strings.Join(strings.Fields(tt.head), " ")
		}) {
			t.Errorf("at %d, not %q:\n%s", tt.width, tt.head, &text)
		}
	}
}

// The total is of the tries that opened a tunnel, since quick refusals would make
// it look better. If none did, it is of all.
func TestSeriesTotalIsOfOneKind(t *testing.T) {
	open, refused := Verdict{Kind: VerdictOpen}, Verdict{Kind: VerdictDenied, ExitCode: tunnel.ExitRefused}
	for _, tt := range []struct {
		opened, refused int
		want            PhaseTimes
		words           string
	}{
		{2, 0, PhaseTimes{phaseTotal, 2, 300, 300, 300, 300, 300}, "\n  total "},
		{2, 9, PhaseTimes{phaseTotal, 2, 300, 300, 300, 300, 300}, "\n  total, if open "},
		{0, 9, PhaseTimes{phaseTotal, 9, 1, 1, 1, 1, 1}, "\n  total "},
	} {
		s := &tally{report: &Summary{}}
		for i := range tt.opened {
			s.add(i, &Report{Verdict: open, Timeline: []Span{{Phase: SpanReplyComplete, Duration: 300, Finished: true}}})
		}
		for i := range tt.refused {
			s.add(i, &Report{Verdict: refused, Timeline: []Span{{Phase: SpanReplyComplete, Duration: 1, Finished: true}}})
		}
		if err := s.finish(); err != nil {
			t.Fatal(err)
		}
		if got := s.report.Phases[len(s.report.Phases)-1]; got != tt.want {
			t.Errorf("%d open, %d refused: %+v", tt.opened, tt.refused, got)
		}
		var text bytes.Buffer
		if s.report.WriteText(&text, terminal.Style{}); !strings.Contains(text.String(), tt.words) {
			t.Errorf("%d open, %d refused:\n%s", tt.opened, tt.refused, &text)
		}
	}
}

// A series that was interrupted says so, unless it had no limit.
func TestSeriesIsCutShort(t *testing.T) {
	for count, want := range map[int]string{100: ": interrupted after 2 of 100 tries, 2 open\n", 0: ": 2 tries, 2 open\n", 2: ": 2 tries, 2 open\n"} {
		proxy := tunneltest.Start(t, func(conn net.Conn) {
			conn.Read(make([]byte, 1024))
			conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		})
		ctx, cancel := context.WithCancel(t.Context())
		s := &Series{Prober: &Prober{Client: clienttest.Proxied(t, proxy.Addr()), Wait: -1}, Count: count}
		r, err := s.Run(ctx, testkit.MustAuthority(t, "example.com:22"), true, func(try Try) {
			if try.Number == 2 {
				cancel()
			}
		})
		cancel()
		if err != nil || r.Done != 2 || r.Count != count || r.Cut != (count == 100) {
			t.Fatalf("%d tries: %v, %+v", count, err, r)
		}
		var text bytes.Buffer
		if r.WriteText(&text, terminal.Style{}); !strings.Contains(text.String(), want) {
			t.Errorf("%d tries:\n%s", count, &text)
		}
	}
}

// Percentiles are by nearest rank.
func TestSeriesPercentiles(t *testing.T) {
	s := &tally{report: &Summary{}, times: map[string][]Micros{}}
	for i := range 200 {
		s.times[phaseTotal] = append(s.times[phaseTotal], Micros(200-i))
	}
	s.times[SpanConnect] = []Micros{7}
	s.finish()
	if got := s.report.Phases; got[0] != (PhaseTimes{SpanConnect, 1, 7, 7, 7, 7, 7}) || got[1] != (PhaseTimes{phaseTotal, 200, 1, 100, 180, 198, 200}) {
		t.Errorf("%+v", got)
	}
}

// As many tries run at once as are allowed, and no more.
func TestSeriesParallel(t *testing.T) {
	const parallel = 3
	var now, most atomic.Int32
	full := make(chan struct{})
	var once sync.Once
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		n := now.Add(1)
		most.Store(max(most.Load(), n))
		if n == parallel {
			once.Do(func() { close(full) })
		}
		<-full // no request is answered before that many have come
		conn.Read(make([]byte, 1024))
		now.Add(-1)
		conn.Write([]byte("HTTP/1.1 403 No\r\n\r\n"))
	})
	r, _ := seriesAt(t, &Series{Count: 12, Parallel: parallel}, proxy.Addr())
	if r.Done != 12 || most.Load() != parallel {
		t.Errorf("%d done, %d at once", r.Done, most.Load())
	}
}

// The interval is from start to start, and the summary survives the end of the
// context.
func TestSeriesInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		s := &Series{Prober: &Prober{Client: clienttest.Proxied(t, "http://proxy.invalid:1"), Wait: -1}, Interval: time.Second}
		s.Prober.Client.Resolver = testkit.FailingResolver{Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
		var starts []time.Duration
		begin := time.Now()
		r, err := s.Run(ctx, testkit.MustAuthority(t, "example.com:22"), false, func(try Try) { starts = append(starts, try.Started.Sub(begin)) })
		if err != nil || r.Done != 4 || len(r.Tries) != 0 || r.ExitCode() != tunnel.ExitProxyUnreachable {
			t.Errorf("%v, %+v", err, r)
		}
		for i, start := range starts {
			if start != time.Duration(i)*time.Second {
				t.Errorf("try %d after %v", i+1, start)
			}
		}
	})
}

// Failures of one kind with different causes are counted separately.
func TestSeriesSeparatesCauses(t *testing.T) {
	r := &Summary{}
	for _, is := range []tunnel.ErrorType{tunnel.ErrorConnectionRefused, tunnel.ErrorConnectionLimit, tunnel.ErrorConnectionRefused} {
		r.count(Verdict{Kind: VerdictProxyUnreachable, Words: is.Words(), Error: is.String(), ExitCode: tunnel.ExitProxyUnreachable})
	}
	if len(r.Failures) != 2 || r.Failures[0].Tries != 2 || r.Failures[1].Sample != tunnel.ErrorConnectionLimit.Words() {
		t.Errorf("%+v", r.Failures)
	}
}

// A series that was cancelled before its first try returns the context's error.
func TestSeriesCancelledBeforeATry(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &Series{Prober: &Prober{Client: clienttest.Proxied(t, tunneltest.Unused(t))}, Count: 3}
	if r, err := s.Run(ctx, testkit.MustAuthority(t, "example.com:22"), false, nil); err != context.Canceled || r.Done != 0 {
		t.Errorf("%d done, %v", r.Done, err)
	}
}

// The line of a try without phases has no trailing spaces.
func TestTryWithoutPhases(t *testing.T) {
	var line bytes.Buffer
	Try{Number: 1, Verdict: Verdict{Words: "proxy unreachable", ExitCode: tunnel.ExitProxyUnreachable}}.WriteText(&line, terminal.Style{})
	if got := line.String(); got != "   1      0.000 ms  proxy unreachable\n" {
		t.Errorf("%q", got)
	}
}

// A try's phase and its time stay on one line.
func TestTryIsFoldedBetweenPhases(t *testing.T) {
	var text bytes.Buffer
	try := Try{Number: 1, Verdict: Verdict{Words: "open"}, Phases: []Span{{Phase: SpanConnect, Duration: 5, Finished: true}, {Phase: SpanFirstReplyByte, Duration: 5, Finished: true}}}
	try.WriteText(&text, terminal.Style{Width: 50, Wrap: true})
	if want := "   1      0.000 ms  open  connect 0.005 ms,\n      first reply byte 0.005 ms\n"; text.String() != want {
		t.Errorf("%q, want %q", &text, want)
	}
}

// A machine that has run out of descriptors, local ports or memory is no fault of the
// proxy's.
func TestOwnLimitInAVerdict(t *testing.T) {
	for errno, hint := range map[syscall.Errno]string{syscall.EMFILE: "ulimit -n", syscall.ENFILE: "ulimit -n", syscall.EADDRNOTAVAIL: "ip_local_port_range", syscall.ENOBUFS: "memory"} {
		e := &tunnel.Error{Phase: tunnel.PhaseConnect, Hop: "127.0.0.1:1", Type: tunnel.DialErrorType(errno), Err: errno}
		v := (&session{prober: &Prober{}, recording: &recording{}, mask: &client.Masker{}, err: e}).verdict()
		if v.Kind != VerdictOwnLimit || v.Words != "culvert's own limit: "+errno.Error() || !strings.Contains(v.Hint, hint) || v.ExitCode != tunnel.ExitUnexpected {
			t.Errorf("%+v", v)
		}
		if want := "culvert's own limit on the way to proxy 127.0.0.1:1: " + errno.Error(); v.Sentence != want {
			t.Errorf("%q, want %q", v.Sentence, want)
		}
		r := &Summary{}
		r.count(v)
		var text bytes.Buffer
		if r.WriteText(&text, terminal.Style{}); !strings.Contains(text.String(), "  failed     1  "+v.Words+"\n    hint: "+v.Hint+"\n") {
			t.Errorf("%s", &text)
		}
	}
	told := &tunnel.Error{Phase: tunnel.PhaseReply, Status: 503, Hop: "127.0.0.1:1", Type: tunnel.ErrorConnectionLimit}
	if _, _, ours := explain.OwnLimit(told); ours {
		t.Error("a proxy's limit is taken for ours")
	}
}
