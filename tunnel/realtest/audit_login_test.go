//go:build unix

package realtest

import (
	"slices"
	"testing"
)

// squidLogins are the logins that squid knows, and the checks that come out in
// another way than by Basic: squid, which takes connect for CONNECT, sums up a
// Digest with the latter, and NTLM needs its connection after a 407.
var squidLogins = []struct{ scheme, differs string }{{"basic", ""}, {"digest", "method-case"}, {"ntlm", "refusal-407-closes"}}

// Whatever the proxy's login, the audit gets past it, and says the same of the
// proxy behind.
func TestRealAuditsOfEveryLogin(t *testing.T) {
	t.Parallel()
	needs(t, "squid")
	audits := make([]*realAudit, len(squidLogins))
	t.Run("all", func(t *testing.T) {
		for i, login := range squidLogins {
			t.Run(login.scheme, func(t *testing.T) {
				t.Parallel()
				audits[i] = newAudit(t, "--target-listen", "127.0.0.1:"+freePort(t), "--proxy", "http://"+user+"@"+squidOffering(t, login.scheme))
			})
		}
	})
	if t.Failed() {
		return
	}
	basic := audits[0]
	if g := basic.results["tunnel-all-bytes"].Grade; g != "pass" {
		t.Errorf("by Basic no tunnel carries bytes: %s", g)
	}
	for i, login := range squidLogins {
		a := audits[i]
		unlike := func(id string) bool {
			return (a.results[id].Grade != basic.results[id].Grade) != (id == login.differs) && !slices.Contains(unheld, id)
		}
		odd := slices.DeleteFunc(slices.Clone(basic.order), func(id string) bool { return !unlike(id) })
		a.again(t, odd)
		basic.again(t, odd)
		for _, id := range odd {
			if unlike(id) {
				a, basic := a.results[id], basic.results[id]
				t.Errorf("by %s %s is %s (%s), by Basic %s (%s)", login.scheme, id, a.Grade, a.Evidence, basic.Grade, basic.Evidence)
			}
		}
	}
}
