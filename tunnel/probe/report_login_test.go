package probe

import (
	"testing"
	"time"

	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
)

// What follows the 2xx is checked as part of the exchange that opened the tunnel,
// however many rounds of a login came before.
func TestProbeChecksAfterALogin(t *testing.T) {
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if value != "" {
			return testkit.TunnelOpen + "<html>a page</html>", true
		}
		return testkit.Reply407("Basic realm=r"), true
	})
	r := probeAt(t, &Prober{Client: clienttest.Proxied(t, "http://me:x@"+p.Addr()), Wait: 100 * time.Millisecond})
	if len(r.Exchanges) != 2 {
		t.Fatalf("%d exchanges", len(r.Exchanges))
	}
	for _, f := range r.Findings {
		if f.ID == "page" && (f.Grade == Fail) != (f.Exchange == 1) {
			t.Errorf("exchange %d: page is %v", f.Exchange, f.Grade)
		}
	}
}
