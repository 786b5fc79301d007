package audit

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/terminal"
)

// Whatever a proxy sends, a terminal acts on nothing in the report, and the audit
// takes no longer.
func TestHostileProxiesAreAudited(t *testing.T) {
	t.Parallel()
	const nasty = "\x1b]0;owned\x07\xc3\xa9\x9b2J"
	for name, reply := range map[string]string{
		"a reply":            "HTTP/1.1 500 " + nasty + "\r\nVia: " + nasty + "\r\nContent-Length: 1000\r\n\r\n" + nasty,
		"a tunnel":           "HTTP/1.1 200 " + nasty + "\r\nServer: " + nasty + "\r\nContent-Length: " + nasty + "\r\n\r\n" + nasty,
		"a head without end": "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+nasty+"\r\n", 100_000),
		"no HTTP":            nasty + "\r\n",
		"nothing":            "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hostile := bad{refuses: func(string) string { return reply + " " }, plain: blind}
			if name == "nothing" {
				hostile.refuses = func(string) string { <-time.After(10 * testPatience); return "x" }
			}
			r := auditOf(t, "http://"+hostile.start(t), func(a *Auditor) { a.Patience, a.Quiet = testPatience/4, testQuiet/4 })
			var out bytes.Buffer
			r.WriteText(&out, terminal.Style{})
			r.WriteJSON(&out)
			r.WriteMarkdown(&out)
			r.WriteJUnit(&out)
			for i, c := range []byte(strings.ReplaceAll(out.String(), "…", "")) {
				if c != '\n' && (c < ' ' || c > '~') {
					t.Fatalf("byte %#x in %q", c, out.String()[max(0, i-60):i+1])
				}
			}
			if out.Len() > 4<<20 || r.verdict() == "" {
				t.Errorf("%d bytes: %s", out.Len(), r.verdict())
			}
		})
	}
}

// Whatever a proxy sends back, no form of a report contains the password.
func TestCredentialsStayOutOfReports(t *testing.T) {
	tattle := bad{refuses: func(head string) string {
		return "HTTP/1.1 500 " + strings.TrimSpace(strings.NewReplacer("\r", " ", "\n", " ").Replace(head)) + "\r\nVia: 1.1 lovelace\r\n\r\n" + head + " lovelace YWRhOmxvdmVsYWNl"
	}, lingers: func(net.Conn) {}}
	r := auditOf(t, "http://ada:lovelace@"+tattle.start(t), func(a *Auditor) { a.Patience = 10 * time.Second })
	var out bytes.Buffer
	r.WriteText(&out, terminal.Style{})
	r.WriteJSON(&out)
	r.WriteMarkdown(&out)
	r.WriteJUnit(&out)
	for _, secret := range []string{"lovelace", "YWRhOmxvdmVsYWNl"} {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("%s is in ...%q", secret, out.String()[max(0, i-80):i+20])
		}
	}
	if !strings.Contains(out.String(), "***") {
		t.Error("nothing was masked")
	}
}
