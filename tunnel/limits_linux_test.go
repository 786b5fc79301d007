package tunnel

import (
	"culvert/tunnel/internal/leak"
	"testing"
)

// When the descriptors run short a client is told so, before it has asked for
// anything; when there are enough it is served.
func TestCrowdedServerTurnsClientsAway(t *testing.T) {
	crowded := &Server{}
	crowded.init()
	crowded.run.mostDescriptors = 1
	ts := startServer(t, crowded)
	rec := ts.checkRefusal(readAnswer(t, ts.dial()), 503, "connection_limit_reached")
	rec.want(t, "rule", "descriptors")
	if most := mostDescriptors(); most <= leak.InUse(nil).Descriptors {
		t.Skipf("%d descriptors are few", most)
	}
	ts = startServer(t, &Server{})
	ts.refused(connectHead("example.test:99999"), 400, "http_request_error")
}
