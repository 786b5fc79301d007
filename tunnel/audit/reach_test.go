package audit

import (
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
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
