package probe

import (
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// A 2xx opens a tunnel even if the bytes that follow do not match its
// Content-Length.
func TestVerdictOnAnnouncedContent(t *testing.T) {
	const head, words = reply200 + "Content-Length: 40\r\n\r\n", "not a proxy (2xx, but the content of 40 bytes that Content-Length announced instead of a tunnel)"
	for _, tt := range []struct {
		name, data string
		steps      func(string) []tunneltest.Step
		words      string
	}{
		{"fewer bytes", "NOTICE: a server that speaks first", holdOn, "open"},
		{"more bytes", strings.Repeat("a", 41), holdOn, "open"},
		{"just as many", strings.Repeat("a", 40), holdOn, words},
		{"just as many, and the end", strings.Repeat("a", 40), testkit.HangUp, words},
		{"a page that goes on", htmlPage + strings.Repeat("a", 40), holdOn, "not a proxy (2xx, but an HTML page instead of a tunnel)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := probeScript(t, testkit.BriefWait, tt.steps(head+tt.data)...)
			if r.Verdict.Words != tt.words {
				t.Errorf("%q, want %q", r.Verdict.Words, tt.words)
			}
			if f := findingOf(t, r, "2xx-content-length"); f.Grade != Fail {
				t.Errorf("%+v", f)
			}
		})
	}
}

// The verdict says what is wrong with a challenge.
func TestVerdictOnABrokenChallenge(t *testing.T) {
	proxy := tunneltest.StartProxy(t, testkit.HangUp(reply407+"Proxy-Authenticate: Digest realm=x\r\n\r\n")...)
	v := probeAt(t, &Prober{Client: clienttest.Proxied(t, "http://me:pw@"+proxy.Addr()), Wait: testkit.BriefWait}).Verdict
	if want := "credentials wanted (Digest; no answer to Digest: the challenge has no nonce)"; v.Words != want || !strings.Contains(v.Hint, "broken") {
		t.Errorf("%+v, want %q", v, want)
	}
}

// Credentials from the flags are for the first proxy alone. A hint to give another
// proxy's credentials by flags would have them sent to the first.
func TestVerdictOnCredentialsInAChain(t *testing.T) {
	asks := reply407 + "Proxy-Authenticate: Basic realm=b\r\n\r\n"
	opens := func(next string) []tunneltest.Step {
		return []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send(reply200 + "\r\n"), relayTo(next)}
	}
	const first = "give them with --proxy-user NAME and CULVERT_PROXY_PASSWORD, or --proxy-credentials FILE"
	const later = "put USER:PASSWORD@ into that proxy's URL in -x, before its host"
	for _, tt := range []struct {
		name          string
		first, second []tunneltest.Step // nil = it is opened by the other proxy
		user          string
		words, hint   string
	}{
		{"the second asks", nil, testkit.HangUp(asks), "", "credentials wanted by SECOND (Basic)", later},
		{"the first asks", testkit.HangUp(asks), testkit.HangUp(""), "", "credentials wanted by FIRST (Basic)", first},
		{"the second refuses", nil, testkit.HangUp(asks), "me:pw@", "credentials refused by SECOND (Basic)", "check user name and password in -x"},
		{"in SOCKS", nil, []tunneltest.Step{tunneltest.Send("\x05\xff"), tunneltest.Hold}, "socks5h://", "", later},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			second := tunneltest.StartProxy(t, tt.second...)
			if tt.first == nil {
				tt.first = opens(second.Addr())
			}
			first := tunneltest.StartProxy(t, tt.first...)
			c := clienttest.Proxied(t, "http://"+first.Addr(), tt.user+second.Addr())
			c.Route.Source, c.Auth = "-x", client.AuthBasic
			if tt.words == "" {
				_, err := c.Open(t.Context(), testkit.MustAuthority(t, "a:22"))
				if _, hint := explain.Error(err); hint != tt.hint {
					t.Errorf("%q, want %q", hint, tt.hint)
				}
				return
			}
			words := strings.NewReplacer("FIRST", first.Addr(), "SECOND", second.Addr()).Replace(tt.words)
			if v := probeAt(t, &Prober{Client: c, Wait: testkit.BriefWait}).Verdict; v.Words != words || v.Hint != tt.hint || v.ExitCode != tunnel.ExitCredentials {
				t.Errorf("%+v, want %q and %q", v, words, tt.hint)
			}
		})
	}
}
