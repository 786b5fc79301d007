//go:build unix

package realtest

import (
	"slices"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/audit"
)

// squidLogins are the logins that squid knows, and the checks that come out in
// another way than by Basic: squid, which takes connect for CONNECT, sums up a
// Digest with the latter, and NTLM needs its connection after a 407.
var squidLogins = []struct{ scheme, differs string }{{"basic", ""}, {"digest", "method-case"}, {"ntlm", "refusal-407-closes"}}

// Whatever the proxy's login, the audit gets past it, and says the same of the
// proxy behind.
func TestRealAuditsOfEveryLogin(t *testing.T) {
	t.Parallel()
	grades := make([]map[string]audit.Result, len(squidLogins))
	t.Run("all", func(t *testing.T) {
		for i, login := range squidLogins {
			t.Run(login.scheme, func(t *testing.T) {
				t.Parallel()
				proxy := squidOffering(t, login.scheme)
				stdout, stderr, code := runProgram(t, nil, culvert(t), "probe", "--audit", "--json", "--patience", "2s",
					"--target-listen", "127.0.0.1:"+freePort(t), "--proxy", "http://ada:lovelace@"+proxy)
				report, err := audit.ReadReport(strings.NewReader(stdout))
				if err != nil || stderr != "" || (code == 11) != report.Failed() {
					t.Fatalf("exit %d, %v: %s", code, err, stderr)
				}
				if strings.Contains(stdout, "lovelace") || strings.Contains(stdout, "response=") {
					t.Error("the report tells what the login goes by")
				}
				grades[i] = map[string]audit.Result{}
				for _, r := range report.Results {
					grades[i][r.ID] = r
				}
			})
		}
	})
	if g := grades[0]["tunnel-all-bytes"].Grade; g != tunnel.Pass {
		t.Errorf("by Basic no tunnel carries bytes: %s", g)
	}
	for i, login := range squidLogins {
		for id, basic := range grades[0] {
			if r := grades[i][id]; (r.Grade != basic.Grade) != (id == login.differs) && !slices.Contains(unheld, id) {
				t.Errorf("by %s %s is %s (%s), by Basic %s (%s)", login.scheme, id, r.Grade, r.Evidence, basic.Grade, basic.Evidence)
			}
		}
	}
}
