package probe

import (
	"bytes"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// Of several routes the report is about the one that was taken, and says why the
// others were abandoned. A route that is direct or ends at a SOCKS proxy is not
// probed: a direct one would report "open" though all the proxies are dead.
func TestProbeTakesAnotherRoute(t *testing.T) {
	target := tunneltest.Start(t, tunneltest.Say("hello"))
	dead := func() string { return "http://" + tunneltest.Unused(t) }
	live := tunneltest.StartProxy(t, tunneltest.Honest()...)
	unreachable := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 502 Bad Gateway\r\nProxy-Status: p; error=dns_error\r\nContent-Length: 0\r\n\r\n")...)
	denying := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")...)
	for _, tt := range []struct {
		about     string
		routes    []string
		kind      VerdictKind
		last      string // the proxy that the report is about
		abandoned []string
		exchanges int
	}{
		{"a dead one first", []string{dead(), "http://" + live.Addr()}, VerdictOpen, live.Addr(), []string{"refused the connection"}, 1},
		{"one that does not reach the target", []string{"http://" + unreachable.Addr(), "http://" + live.Addr()}, VerdictOpen, live.Addr(), []string{"502"}, 1},
		{"two dead ones", []string{dead(), dead(), "http://" + live.Addr()}, VerdictOpen, live.Addr(), []string{"", ""}, 1},
		{"a decision is final", []string{"http://" + denying.Addr(), "http://" + live.Addr()}, VerdictDenied, denying.Addr(), nil, 1},
		{"direct behind a dead one", []string{dead(), "direct"}, VerdictProxyUnreachable, "", nil, 0},
		{"SOCKS behind a dead one", []string{dead(), "socks5h://" + live.Addr()}, VerdictProxyUnreachable, "", nil, 0},
		{"the last one fails too", []string{dead(), "http://" + unreachable.Addr()}, VerdictTargetUnreachable, unreachable.Addr(), []string{""}, 1},
	} {
		t.Run(tt.about, func(t *testing.T) {
			var told int
			p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, tt.routes[0]), Trace: &client.Trace{Abandoned: func(tunnel.Route, error, tunnel.Route) { told++ }}}, Wait: testkit.Patience}
			for _, r := range tt.routes[1:] {
				p.Client.Or = append(p.Client.Or, testkit.MustRoute(t, r))
			}
			r, err := p.Probe(t.Context(), testkit.MustAuthority(t, target.Addr()))
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict.Kind != tt.kind || len(r.Exchanges) != tt.exchanges || !strings.HasSuffix(r.Plan.Hops[0], tt.last) {
				t.Errorf("%+v by %q after %d exchanges", r.Verdict, r.Plan.Hops, len(r.Exchanges))
			}
			if len(r.Plan.Abandoned) != len(tt.abandoned) || told != len(tt.abandoned) {
				t.Fatalf("%+v, told %d times", r.Plan.Abandoned, told)
			}
			var text bytes.Buffer
			_ = r.WriteText(&text, terminal.Style{})
			for i, words := range tt.abandoned {
				a := r.Plan.Abandoned[i]
				if a.Hops[0] != tt.routes[i] || !strings.Contains(a.Why, words) || !strings.Contains(text.String(), "* "+tt.routes[i]+" cannot be taken: "+a.Why+"\n") {
					t.Errorf("%+v, want one with %q, told in\n%s", a, words, &text)
				}
			}
		})
	}
}
