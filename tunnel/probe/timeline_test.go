package probe

import (
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// timelineLines returns a timeline's text without its heading.
func timelineLines(t *testing.T, r *Report, style terminal.Style) []string {
	t.Helper()
	text := &reportText{Style: style}
	text.timeline(r)
	return strings.Split(strings.TrimSuffix(text.out.String(), "\n"), "\n")[2:]
}

func TestTimelineIsNotScaledByItsOwnWait(t *testing.T) {
	r := &Report{Timeline: []Span{
		{Phase: SpanReplyComplete, Duration: 100, Finished: true},
		{Phase: SpanClose, At: 100, Duration: 500_000},
	}}
	lines := timelineLines(t, r, terminal.Style{Width: 60})
	if !strings.HasSuffix(lines[0], "|"+strings.Repeat("=", 13)+"|") || !strings.HasSuffix(lines[1], " >|  kept open") {
		t.Errorf("%q", lines)
	}
	if want := "*   no tunnel after     0.100 ms"; lines[2] != want {
		t.Errorf("%q, want %q", lines[2], want)
	}
}

func TestTimelineBars(t *testing.T) {
	for _, tt := range []struct {
		at, duration Micros
		want         string
	}{
		{0, 100, strings.Repeat("=", 32)},
		{50, 50, strings.Repeat(" ", 16) + strings.Repeat("=", 16)},
		{0, 0, "-" + strings.Repeat(" ", 31)},
		{100, 0, strings.Repeat(" ", 31) + "-"},
		{50, 2, strings.Repeat(" ", 16) + "=" + strings.Repeat(" ", 15)},
		{50, 5000, strings.Repeat(" ", 16) + strings.Repeat("=", 15) + ">"},
	} {
		if got := bar(Span{At: tt.at, Duration: tt.duration}, 100, 32); got != tt.want {
			t.Errorf("bar(%d, %d) = %q, want %q", tt.at, tt.duration, got, tt.want)
		}
	}
}

// longTimeline has every phase, for the longest route.
func longTimeline(finished bool) *Report {
	r := &Report{Plan: Plan{Hops: []string{"https://p.example:443", "socks5://q.example:1080"}}}
	for i, s := range []Span{
		{Phase: SpanResolve}, {Phase: SpanConnect}, {Phase: SpanTLSProxy, Hop: "p.example:443"}, {Phase: SpanRequest, Hop: "p.example:443"},
		{Phase: SpanFirstReplyByte, Hop: "p.example:443"}, {Phase: SpanReplyComplete, Hop: "p.example:443"},
		{Phase: SpanSOCKSGreeting, Hop: "q.example:1080"}, {Phase: SpanSOCKSAuthentication, Hop: "q.example:1080"}, {Phase: SpanSOCKSConnect, Hop: "q.example:1080"},
		{Phase: SpanTLSInside}, {Phase: SpanFirstTunnelByte}, {Phase: SpanClose},
	} {
		s.At, s.Duration, s.Finished = Micros(i)*990_000, 990_000, finished
		r.Timeline = append(r.Timeline, s)
	}
	return r
}

// The timeline fits the width from 40 columns on, where it has no bars; colours
// take no columns.
func TestTimelineFits(t *testing.T) {
	colour := func(s string) string { return "\x1b[1m" + s + "\x1b[0m" }
	bare := strings.NewReplacer("\x1b[1m", "", "\x1b[0m", "")
	for _, tt := range []struct{ width, bar int }{{60, 10}, {80, 30}, {0, 30}, {140, 90}, {400, 100}, {46, 0}, {40, 0}, {20, 0}} {
		for _, finished := range []bool{true, false} {
			plain := timelineLines(t, longTimeline(finished), terminal.Style{Width: tt.width})
			dressed := timelineLines(t, longTimeline(finished), terminal.Style{Width: tt.width, Faint: colour, Bold: colour, Bad: colour})
			widest := 0
			for i, line := range plain {
				if widest = max(widest, len(line)); bare.Replace(dressed[i]) != line {
					t.Errorf("%q, in colour %q", line, dressed[i])
				}
				if start := strings.IndexByte(line, '|'); start > 0 && tt.bar == 0 || !finished && start > 0 && strings.LastIndexByte(line, '|')-start-1 != tt.bar {
					t.Errorf("at %d columns, a bar of %q", tt.width, line)
				}
			}
			if tt.width >= 40 && (widest > tt.width || !finished && tt.bar > 0 && tt.width <= 140 && widest < tt.width) {
				t.Errorf("%d columns at %d:\n%s", widest, tt.width, strings.Join(plain, "\n"))
			}
		}
	}
}

// Each phase stands under its hop, in one column.
func TestTimelineByHop(t *testing.T) {
	lines := timelineLines(t, longTimeline(true), terminal.Style{})
	var headings []string
	for _, line := range lines[:len(lines)-1] {
		if strings.HasPrefix(line, "*     ") {
			if strings.IndexByte(line, '|') != 36 {
				t.Errorf("%q", line)
			}
			continue
		}
		headings = append(headings, strings.TrimPrefix(line, "*   "))
	}
	if want := []string{"https://p.example:443", "socks5://q.example:1080", " through the tunnel"}; !slices.Equal(headings, want) {
		t.Errorf("%q, want %q", headings, want)
	}
	if lines = timelineLines(t, &Report{Plan: Plan{Hops: []string{"http://p.example:80"}}, Timeline: longTimeline(true).Timeline[:2]}, terminal.Style{}); len(lines) != 3 {
		t.Errorf("one hop needs no heading: %q", lines)
	}
}

func TestDurationOf(t *testing.T) {
	for m, want := range map[Micros]string{0: "0.000 ms", 1500: "1.500 ms", 999_999: "999.999 ms", 1_000_000: "1.000 s ", 30_002_500: "30.003 s "} {
		if got := durationOf(m); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A tunnel that was reset has its end in the timeline, and was open when the reply
// was complete.
func TestTimelineOfAResetTunnel(t *testing.T) {
	r := probeScript(t, testkit.LongWait, tunneltest.ReadHead, tunneltest.Send(reply200+"\r\n"), tunneltest.Cut)
	n := len(r.Timeline)
	if s := r.Timeline[n-1]; s.Phase != SpanClose || !s.Finished {
		t.Fatalf("%+v", r.Timeline)
	}
	if complete := r.Timeline[n-3]; complete.Phase != SpanReplyComplete || openAfter(r.Timeline) != complete.At+complete.Duration {
		t.Errorf("open after %d of %+v", openAfter(r.Timeline), r.Timeline)
	}
}

// A hop that was asked again, as in a login, has a heading for each request.
func TestTimelineOfALogin(t *testing.T) {
	const hop = "p.example:443"
	r := &Report{Plan: Plan{Hops: []string{"https://" + hop}}, Exchanges: []Exchange{{Hop: hop}, {Hop: hop}, {Hop: hop}}}
	for _, phase := range strings.Fields("connect tls-to-the-proxy request first-reply-byte reply-complete tls-to-the-proxy request first-reply-byte reply-complete request first-reply-byte reply-complete close") {
		s := Span{Phase: phase, Hop: hop, Finished: true}
		if phase == SpanConnect {
			s.Hop = ""
		}
		r.Timeline = append(r.Timeline, s)
	}
	first, second, third := "https://"+hop, "https://"+hop+", request 2", "https://"+hop+", request 3"
	want := []string{first, first, first, first, first, second, second, second, second, third, third, third, third}
	if got := r.headings(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for i, want := range []string{hop, hop + ", request 2", hop + ", request 3"} {
		if got := r.requestAt(i); got != want {
			t.Errorf("exchange %d: %q, want %q", i, got, want)
		}
	}
}

// If a login needs another connection, connecting is a phase again.
func TestTimelineOfAnotherConnection(t *testing.T) {
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if value == "" {
			return "HTTP/1.1 407 No\r\nConnection: close\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", false
		}
		return testkit.TunnelOpen, true
	})
	r := probeAt(t, &Prober{Client: clienttest.Proxied(t, "http://ada:lovelace@"+p.Addr()), Wait: -1})
	var phases []string
	for _, s := range r.Timeline {
		phases = append(phases, s.Phase)
	}
	once := []string{SpanConnect, SpanRequest, SpanFirstReplyByte, SpanReplyComplete}
	if want := append(slices.Clone(once), once...); !slices.Equal(phases, want) || len(r.Attempts) != 1 {
		t.Errorf("%q, want %q; %+v", phases, want, r.Attempts)
	}
	var text strings.Builder
	r.WriteText(&text, terminal.Style{})
	if !strings.Contains(text.String(), "\n* ask "+p.Addr()+" for example.com:22, over connection 2\n") || strings.Contains(text.String(), "connection 1") {
		t.Errorf("%s", &text)
	}
}

// What a hop's replies say about it appears once.
func TestIdentityOnce(t *testing.T) {
	server := []IdentityField{{"Server", "s"}}
	r := &Report{Exchanges: []Exchange{{Hop: "p", Product: "one", Identity: server}, {Hop: "p", Product: "one", Identity: server}, {Hop: "q", Product: "one"}, {Hop: "p", Product: "two", Identity: []IdentityField{{"Server", "t"}}}}}
	text := &reportText{}
	for i := range r.Exchanges {
		text.identity(r, i)
	}
	want := "*\n* p looks like one (by )\n*\n* p says of itself\n*   Server         s\n*\n* q looks like one (by )\n*\n* p looks like two (by )\n*\n* p, request 3 says of itself\n*   Server         t\n"
	if got := text.out.String(); got != want {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

func TestTimelineOfASilentProxy(t *testing.T) {
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Hold)
	p := &Prober{Client: clienttest.Proxied(t, proxy.Addr()), Wait: testkit.BriefWait}
	testkit.WithLimits(func(limit time.Duration, last bool) bool {
		p.Client.Timeout = limit
		r := probeAt(t, p)
		end := r.Timeline[len(r.Timeline)-1]
		ok := end.Phase == SpanFirstReplyByte && !end.Finished && end.Duration >= 10_000
		if last && !ok {
			t.Errorf("%+v", end)
		}
		return ok
	})
}
