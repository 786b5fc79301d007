package audit

import (
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/tunneltest"
)

func TestSurvey(t *testing.T) {
	route, _ := tunnel.ParseRoute("http://" + startServe(t, false))
	a := &Auditor{Client: &tunnel.Client{Route: route}, Patience: 10 * time.Second}
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	ways, err := a.Survey(t.Context(), []Way{{Target: open.Addr().String()}, {Target: "169.254.169.254:80"}, {Target: "[fe80::1]:80"}, {Target: "127.0.0.1:1"}, {Target: "a b:1"}})
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, w := range ways {
		answers = append(answers, w.Answer)
	}
	if got := strings.Join(answers, ", "); got != "open, denied, denied, tried, refused" || !AnyOpen(ways) {
		t.Errorf("%s", got)
	}
	var text strings.Builder
	WriteSurvey(&text, tunnel.Style{}, ways)
	if !strings.HasSuffix(text.String(), "verdict: 1 open, 1 tried, 2 denied, 1 refused\n") {
		t.Errorf("%s", &text)
	}
	for list, want := range map[string]int{"22": 1, "22,22": 1, "80-82, 443": 4, "1-65535": 0, "0": 0, "5-4": 0, "": 0, "65536": 0} {
		if ports, err := ParsePorts(list); len(ports) != want && err == nil || want == 0 && err == nil {
			t.Errorf("%q: %v, %v", list, ports, err)
		}
	}
}

// surveyOf surveys a proxy that answers everything so.
func surveyOf(t *testing.T, reply string) []Way {
	t.Helper()
	proxy := tunneltest.StartProxy(t, tunneltest.Answer(reply)...)
	route, _ := tunnel.ParseRoute("http://ada:hunter2hunter2@" + proxy.Addr())
	a := &Auditor{Client: &tunnel.Client{Route: route}, Patience: 10 * time.Second}
	ways, err := a.Survey(t.Context(), []Way{{Target: "127.0.0.1:1"}, {Target: "127.0.0.1:2"}})
	if err != nil {
		t.Fatal(err)
	}
	return ways
}

// What the answers of a survey come to; none shows credentials or escapes.
func TestSurveyAnswers(t *testing.T) {
	for _, tt := range []struct{ reply, answer, words, inconclusive string }{
		{"HTTP/1.1 502 No\r\nProxy-Status: p; error=destination_ip_prohibited\r\n\r\n", answerDenied, "HTTP/1.1 502 No", ""},
		{"HTTP/1.1 502 No\r\nProxy-Status: p; error=connection_refused\r\n\r\n", answerTried, "HTTP/1.1 502 No", ""},
		{"HTTP/1.1 403 hunter2hunter2\x1b[2J\r\n\r\n", answerDenied, `HTTP/1.1 403 ***\x1b[2J`, ""},
		{"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\n\r\n", answerOther, "HTTP/1.1 407 No", "the proxy wants credentials, and judged nothing"},
		{"HTTP/1.1 501 No\r\n\r\n", answerOther, "HTTP/1.1 501 No", "the proxy has no CONNECT, and judged nothing"},
		{"HTTP/1.1 404 No such domain\r\n\r\n", answerOther, "HTTP/1.1 404 No such domain", ""}, // as Privoxy has it
		{"", answerNone, "no answer: the connection was closed", "the proxy answered nothing"},
	} {
		ways := surveyOf(t, tt.reply)
		if w := ways[1]; w.Answer != tt.answer || w.Words != tt.words || Inconclusive(ways) != tt.inconclusive {
			t.Errorf("%q: %+v, %q", tt.reply, w, Inconclusive(ways))
		}
	}
}

// The ports that serve allows are told from those it denies.
func TestSurveyOfPorts(t *testing.T) {
	route, _ := tunnel.ParseRoute("http://" + startServe(t, false, "*:22,80"))
	a := &Auditor{Client: &tunnel.Client{Route: route}, Patience: 10 * time.Second}
	ways, err := a.Survey(t.Context(), PortWays("127.0.0.1", []uint16{21, 22, 23, 79, 80, 81, 443}))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ways {
		allowed := strings.HasSuffix(w.Target, ":22") || strings.HasSuffix(w.Target, ":80")
		if (w.Answer == answerDenied) == allowed {
			t.Errorf("%+v", w)
		}
	}
}

// Each target is asked for once, a proxy on a unix socket for none without a port.
func TestReachable(t *testing.T) {
	loopback, _ := tunnel.ParseAuthority("127.0.0.1:3128")
	for _, proxy := range []tunnel.Authority{loopback, {}} {
		seen := map[string]bool{}
		for _, w := range Reachable(proxy) {
			if seen[w.Target] || w.Target == "" || strings.HasSuffix(w.Target, ":0") || w.Why == "" {
				t.Errorf("%+v", w)
			}
			seen[w.Target] = true
		}
	}
}
