package audit

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
)

// Whatever a proxy sends back, no form of a report has the password.
func TestCredentialsStayOutOfReports(t *testing.T) {
	tattle := bad{refuses: func(head string) string {
		return "HTTP/1.1 500 " + strings.TrimSpace(strings.NewReplacer("\r", " ", "\n", " ").Replace(head)) + "\r\nVia: 1.1 lovelace\r\n\r\n" + head + " lovelace YWRhOmxvdmVsYWNl"
	}, lingers: func(net.Conn) {}}
	r := auditOf(t, "http://ada:lovelace@"+tattle.start(t), func(a *Auditor) { a.Patience = 10 * time.Second })
	var out bytes.Buffer
	r.WriteText(&out, tunnel.Style{})
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
