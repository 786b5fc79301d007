package probe

import (
	"strings"
	"testing"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

const (
	sentPassword = "correct horse battery"
	sentBasic    = "dXNlcjpjb3JyZWN0IGhvcnNlIGJhdHRlcnk=" // user:correct horse battery
	sentBearer   = "abc.def.ghi-jkl"
)

// echoingSecrets is a proxy that sends the credentials back wherever possible.
func echoingSecrets() []tunneltest.Step {
	echo := "you sent " + sentBasic + ", " + sentPassword + " and " + sentBearer
	body := echo + strings.Repeat(" ", 300)
	return testkit.HangUp("HTTP/1.1 403 " + echo + "\r\nServer: " + echo + "\r\nProxy-Status: p; error=http_request_denied; details=\"" + echo + "\"\r\n" +
		"X : " + echo + "\r\n\r\n" + body)
}

func probeEcho(t *testing.T, show bool) (request, everything string) {
	t.Helper()
	proxy := tunneltest.StartProxy(t, echoingSecrets()...)
	p := &Prober{Client: clienttest.Proxied(t, "http://user:correct%20horse%20battery@"+proxy.Addr()), Wait: testkit.LongWait, ShowSecrets: show}
	p.Client.Auth = client.AuthBasic
	p.Client.Header = []client.Field{clienttest.Field("Authorization", "Bearer "+sentBearer)}
	r := probeAt(t, p)
	var out strings.Builder
	if err := r.WriteText(&out, terminal.Style{}); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	return string(r.Exchanges[0].Request), out.String()
}

func TestReportMasksCredentials(t *testing.T) {
	request, everything := probeEcho(t, false)
	for _, want := range []string{"\r\nProxy-Authorization: Basic ***\r\n", "\r\nAuthorization: Bearer ***\r\n"} {
		if !strings.Contains(request, want) {
			t.Errorf("no %q in %q", want, request)
		}
	}
	for _, secret := range []string{sentBasic, sentPassword, sentBearer, sentBasic[:12]} {
		if i := strings.Index(everything, secret); i >= 0 {
			t.Errorf("%s is shown: %s", secret, everything[max(0, i-60):i+40])
		}
	}
}

func TestReportShowsSecretsIfAsked(t *testing.T) {
	request, everything := probeEcho(t, true)
	if !strings.Contains(request, "Proxy-Authorization: Basic "+sentBasic) || !strings.Contains(everything, sentPassword) {
		t.Errorf("masked although it was to be shown: %q", request)
	}
}
