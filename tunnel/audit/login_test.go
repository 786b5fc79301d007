package audit

import (
	"strings"
	"sync/atomic"
	"testing"

	"culvert/tunnel/client"
	"culvert/tunnel/probe"
)

// The audit logs in by the scheme that the proxy wants, with the method and the target
// of each request, and sends the password by no weaker scheme.
func TestAuditLogsInByTheProxysScheme(t *testing.T) {
	var basic atomic.Bool
	digests := bad{reads: true, plain: byTarget, refuses: func(head string) string {
		if strings.Contains(head, "Basic ") {
			basic.Store(true)
		}
		_, target := requestLine(head)
		if strings.Contains(head, "\r\nProxy-Authorization: Digest ") && strings.Contains(head, `uri="`+target+`"`) && strings.Contains(head, `username="ada"`) {
			return ""
		}
		return "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=r\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\nContent-Length: 0\r\n\r\n"
	}}
	r := auditOf(t, "http://ada:lovelace@"+digests.start(t), nil, "connect", "connect-carries", "head-bytewise", "head-8k", "plain-keep-alive", "refusal-407")
	if r.Login != client.AuthDigest || basic.Load() {
		t.Errorf("the login was by %q; by Basic too: %t", r.Login, basic.Load())
	}
	for _, result := range r.Results {
		if result.Grade != probe.Pass {
			t.Errorf("%s: %s %s", result.ID, result.Grade, result.Evidence)
		}
	}
}

// The report says so if the proxy refused the credentials.
func TestRefusedCredentialsAreReported(t *testing.T) {
	strict := bad{refuses: func(string) string {
		return "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=r\r\nContent-Length: 0\r\n\r\n"
	}}
	for user, want := range map[string]string{"": `"HTTP/1.1 407 No"`, "ada:lovelace@": `"HTTP/1.1 407 No": it refused the credentials`} {
		r := auditOf(t, "http://"+user+strict.start(t), nil, "connect-carries")
		if got := r.Results[0]; got.Grade == probe.Pass || !strings.HasSuffix(got.Evidence, want) {
			t.Errorf("as %q: %s %s", user, got.Grade, got.Evidence)
		}
	}
}
