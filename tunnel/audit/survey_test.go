package audit

import (
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

func TestSurvey(t *testing.T) {
	route, _ := tunnel.ParseRoute("http://" + startServe(t, false))
	a := &Auditor{Client: &client.Client{Route: route}, Patience: 10 * time.Second}
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	targets, err := a.Survey(t.Context(), []SurveyTarget{{Target: open.Addr().String()}, {Target: "169.254.169.254:80"}, {Target: "[fe80::1]:80"}, {Target: "127.0.0.1:1"}, {Target: "a b:1"}})
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, w := range targets {
		answers = append(answers, w.Answer)
	}
	if got := strings.Join(answers, ", "); got != "open, denied, denied, tried, refused" || !anyOpen(targets) {
		t.Errorf("%s", got)
	}
	var text strings.Builder
	report := a.SurveyReport(time.Now(), targets, true)
	report.WriteText(&text, terminal.Style{})
	if report.ExitCode != tunnel.ExitCheck || a.SurveyReport(time.Now(), targets, false).ExitCode != tunnel.ExitOK {
		t.Errorf("the exit code is %d", report.ExitCode)
	}
	if !strings.HasSuffix(text.String(), "verdict: 1 open, 1 tried, 2 denied, 1 refused\n") {
		t.Errorf("%s", &text)
	}
	for list, want := range map[string]int{"22": 1, "22,22": 1, "80-82, 443": 4, "1-65535": 0, "0": 0, "5-4": 0, "": 0, "65536": 0} {
		if ports, err := ParsePorts(list); len(ports) != want && err == nil || want == 0 && err == nil {
			t.Errorf("%q: %v, %v", list, ports, err)
		}
	}
}

// surveyOf surveys a proxy that answers every request with the reply.
func surveyOf(t *testing.T, reply string) []SurveyTarget {
	t.Helper()
	proxy := tunneltest.StartProxy(t, tunneltest.Answer(reply)...)
	route, _ := tunnel.ParseRoute("http://ada:hunter2hunter2@" + proxy.Addr())
	a := &Auditor{Client: &client.Client{Route: route}, Patience: 10 * time.Second}
	targets, err := a.Survey(t.Context(), []SurveyTarget{{Target: "127.0.0.1:1"}, {Target: "127.0.0.1:2"}})
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// The answers of a survey depend on the reply; none shows credentials or control
// characters.
func TestSurveyAnswers(t *testing.T) {
	t.Parallel()
	const page = "Content-Type: text/html\r\nContent-Length: 36\r\n\r\n<html><title>Log in</title></html>...."
	for _, tt := range []struct {
		reply, answer, words, why string
		code                      int
	}{
		{"HTTP/1.1 200 OK\r\n\r\n", answerOpen, "HTTP/1.1 200 OK", "", 0},
		{"HTTP/1.1 200 OK\r\n" + page, answerPage, "HTTP/1.1 200 OK", "a page came instead of each tunnel: it is no proxy, or a login page stands in the way", 8},
		{"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 403 No\r\n\r\n", answerPage, "HTTP/1.1 200 OK", "a page came instead of each tunnel: it is no proxy, or a login page stands in the way", 8},
		{"HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\n\r\n", answerDenied, "HTTP/1.1 302 Found", "every answer sends elsewhere: a login page may stand in the way", 6},
		{"HTTP/1.1 502 No\r\nProxy-Status: p; error=destination_ip_prohibited\r\n\r\n", answerDenied, "HTTP/1.1 502 No", "", 0},
		{"HTTP/1.1 502 No\r\nProxy-Status: p; error=connection_refused\r\n\r\n", answerTried, "HTTP/1.1 502 No", "", 0},
		{"HTTP/1.1 500 Unable to connect\r\n\r\n<p>Tinyproxy was unable to connect to the remote web server.</p>", answerTried, "HTTP/1.1 500 Unable to connect", "", 0}, // as tinyproxy answers
		{"HTTP/1.1 403 hunter2hunter2\x1b[2J\r\n\r\n", answerDenied, `HTTP/1.1 403 ***\x1b[2J`, "", 0},
		{"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\n\r\n", answerOther, "HTTP/1.1 407 No", "the proxy wants credentials, and judged nothing", 5},
		{"HTTP/1.1 501 No\r\n\r\n", answerOther, "HTTP/1.1 501 No", "the proxy has no CONNECT, and judged nothing", 8},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", answerOther, "HTTP/1.1 400 Bad Request", "every answer is 400, which judges nothing: it may be no proxy", 8},
		{"HTTP/1.1 404 No such domain\r\nContent-Type: text/html\r\n\r\n<body><p>Privoxy was unable to find it</p></body>", answerTried, "HTTP/1.1 404 No such domain", "", 0}, // as Privoxy answers
		{"", answerNone, "no answer: the connection was closed", "no answer in HTTP came, and nothing was judged", 8},
	} {
		targets := surveyOf(t, tt.reply)
		why, code := inconclusive(targets)
		if w := targets[1]; w.Answer != tt.answer || w.Words != tt.words || why != tt.why || code != tt.code {
			t.Errorf("%q: %+v, %q, exit %d", tt.reply, w, why, code)
		}
	}
}

// A survey tells the ports that serve allows from those it denies.
func TestSurveyOfPorts(t *testing.T) {
	route, _ := tunnel.ParseRoute("http://" + startServe(t, false, "*:22,80"))
	a := &Auditor{Client: &client.Client{Route: route}, Patience: 10 * time.Second}
	targets, err := a.Survey(t.Context(), PortTargets("127.0.0.1", []uint16{21, 22, 23, 79, 80, 81, 443}))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range targets {
		allowed := strings.HasSuffix(w.Target, ":22") || strings.HasSuffix(w.Target, ":80")
		if (w.Answer == answerDenied) == allowed {
			t.Errorf("%+v", w)
		}
	}
}

// Each target occurs once and has a port, even for a proxy on a unix socket.
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

// A proxy that closes the connection on some requests and is silent on others has
// decided nothing.
func TestSurveyWithoutAnswers(t *testing.T) {
	targets := []SurveyTarget{{Answer: answerNone, code: tunnel.ExitDeadline}, {Answer: answerNone, code: tunnel.ExitNotAProxy}}
	if why, code := inconclusive(targets); why == "" || code != tunnel.ExitDeadline {
		t.Errorf("%q, exit %d", why, code)
	}
	if why, code := inconclusive(append(targets, SurveyTarget{Answer: answerDenied, Status: 403, code: tunnel.ExitRefused})); why != "" || code != tunnel.ExitOK {
		t.Errorf("with a denial: %q, exit %d", why, code)
	}
}
