package client

import (
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

const (
	secretPassword = "correct horse battery"
	secretBasic    = "dXNlcjpjb3JyZWN0IGhvcnNlIGJhdHRlcnk=" // user:correct horse battery
	secretBearer   = "abc.def.ghi-jkl"
)

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

// A short password is not masked, since it may be a part of ordinary words.
func TestMaskLeavesShortPasswordsInWords(t *testing.T) {
	c := &Client{Route: testkit.MustRoute(t, "http://u:no@proxy.example")}
	if got := c.Masker(false).Text("not now"); got != "not now" {
		t.Errorf("%q", got)
	}
}

func TestMaskFindsOtherForms(t *testing.T) {
	c := &Client{Route: testkit.MustRoute(t, "http://user:back%5Cslash%C3%A9@proxy.example")}
	m := c.Masker(false)
	token := strings.TrimPrefix(c.Route.Hops[0].Credentials.Basic(), "Basic ")
	for _, text := range []string{`it was back\\slash\xc3\xa9`, "it was back\\slash\u00e9", "it was " + strings.TrimRight(token, "=")} {
		if got := m.Text(text); got != "it was ***" {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// Secrets in fields other than Proxy-Authorization are masked too.
func TestMaskOfOtherFields(t *testing.T) {
	c := &Client{Header: []Field{{Name: "X-Api-Key", Value: "k3y-of-the-api"}, {Name: "X-Note", Value: "no-secret-at-all"}, {Name: "Authorization", Value: "Bearer t0ken-of-mine"}}}
	m := c.Masker(false)
	const page = "you sent k3y-of-the-api, no-secret-at-all and t0ken-of-mine by Bearer"
	if got, want := string(m.Received([]byte(page))), "you sent ***, no-secret-at-all and *** by Bearer"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Credentials are masked in the forms in which a page or a URL holds them, and if what was
// read ends within them.
func TestMaskInEveryForm(t *testing.T) {
	const secret = `p&ss<word>"1 2/3`
	c := &Client{Route: tunnel.Route{Hops: []tunnel.Hop{{Credentials: &tunnel.Credentials{User: "u", Password: secret}}}}}
	m := c.Masker(false)
	for _, in := range []string{secret, "p&amp;ss&lt;word&gt;&#34;1 2/3", "p%26ss%3Cword%3E%221+2%2F3", "p&ss%3Cword%3E%221%202%2F3"} {
		if got := string(m.Received([]byte("<" + in + ">"))); got != "<"+masked+">" {
			t.Errorf("%q: %q", in, got)
		}
	}
	for n := minSecretPrefix; n < len(secret); n++ {
		if got := string(m.Received([]byte("x" + secret[:n]))); got != "x"+masked {
			t.Errorf("cut off after %d bytes: %q", n, got)
		}
	}
	b := []byte("x" + secret[:8])
	if m.Received(b); string(b) != "x"+secret[:8] {
		t.Errorf("the caller's bytes became %q", b)
	}
}
