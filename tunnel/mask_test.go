package tunnel

import (
	"strings"
	"testing"

	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

const (
	secretPassword = "correct horse battery"
	secretBasic    = "dXNlcjpjb3JyZWN0IGhvcnNlIGJhdHRlcnk=" // user:correct horse battery
	secretBearer   = "abc.def.ghi-jkl"
)

// tattling is a proxy that sends the credentials back wherever it can.
func tattling() []tunneltest.Step {
	echo := "you sent " + secretBasic + ", " + secretPassword + " and " + secretBearer
	body := echo + strings.Repeat(" ", 300)
	return hangUp("HTTP/1.1 403 " + echo + "\r\nServer: " + echo + "\r\nProxy-Status: p; error=http_request_denied; details=\"" + echo + "\"\r\n" +
		"X : " + echo + "\r\n\r\n" + body)
}

func probeTattling(t *testing.T, show bool) (request, everything string) {
	t.Helper()
	proxy := tunneltest.StartProxy(t, tattling()...)
	p := &Prober{Client: proxied(t, "http://user:correct%20horse%20battery@"+proxy.Addr()), Wait: longWait, ShowSecrets: show}
	p.Client.Auth = AuthBasic
	p.Client.Header = []Field{field("Authorization", "Bearer "+secretBearer)}
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
	request, everything := probeTattling(t, false)
	for _, want := range []string{"\r\nProxy-Authorization: Basic ***\r\n", "\r\nAuthorization: Bearer ***\r\n"} {
		if !strings.Contains(request, want) {
			t.Errorf("no %q in %q", want, request)
		}
	}
	for _, secret := range []string{secretBasic, secretPassword, secretBearer, secretBasic[:12]} {
		if i := strings.Index(everything, secret); i >= 0 {
			t.Errorf("%s is shown: %s", secret, everything[max(0, i-60):i+40])
		}
	}
}

func TestReportShowsSecretsIfAsked(t *testing.T) {
	request, everything := probeTattling(t, true)
	if !strings.Contains(request, "Proxy-Authorization: Basic "+secretBasic) || !strings.Contains(everything, secretPassword) {
		t.Errorf("masked although it was to be shown: %q", request)
	}
}

func TestMaskOfWhatAnExcerptCutOff(t *testing.T) {
	m := &Masker{secrets: []string{secretBasic}}
	for text, want := range map[string]string{
		"sent " + secretBasic[:20] + "...":   "sent ***...",
		"sent " + secretBasic + " ...":       "sent *** ...",
		"sent " + secretBasic[:3] + "...":    "sent " + secretBasic[:3] + "...",
		"nothing to be seen here, go on ...": "nothing to be seen here, go on ...",
	} {
		if got := m.Text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// TestMaskLeavesShortPasswordsInWords: a proxy's words are not riddled because
// a password is a part of them.
func TestMaskLeavesShortPasswordsInWords(t *testing.T) {
	c := proxied(t, "http://u:no@proxy.example")
	if got := c.Masker(false).Text("not now"); got != "not now" {
		t.Errorf("%q", got)
	}
}

func TestMaskFindsOtherForms(t *testing.T) {
	c := proxied(t, "http://user:back%5Cslash%C3%A9@proxy.example")
	m := c.Masker(false)
	token := strings.TrimPrefix(c.Route.Hops[0].Credentials.basic(), "Basic ")
	for _, text := range []string{`it was back\\slash\xc3\xa9`, "it was back\\slash\u00e9", "it was " + strings.TrimRight(token, "=")} {
		if got := m.Text(text); got != "it was ***" {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// What a field was given for its own eyes does not come back in sight, whatever
// the field is called.
func TestMaskOfOtherFields(t *testing.T) {
	c := &Client{Header: []Field{{Name: "X-Api-Key", Value: "k3y-of-the-api"}, {Name: "X-Note", Value: "no-secret-at-all"}, {Name: "Authorization", Value: "Bearer t0ken-of-mine"}}}
	m := c.Masker(false)
	const page = "you sent k3y-of-the-api, no-secret-at-all and t0ken-of-mine by Bearer"
	if got, want := string(m.Received([]byte(page))), "you sent ***, no-secret-at-all and *** by Bearer"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
