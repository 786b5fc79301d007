package proxy

import (
	"testing"

	"culvert/tunnel/internal/leak"
	"culvert/tunnel/internal/proxytest"
)

// If descriptors run short, a client is refused for that before it asks for anything;
// if there are enough, it is served.
func TestCrowdedServerTurnsClientsAway(t *testing.T) {
	crowded := &Server{}
	crowded.init()
	crowded.run.maxDescriptors = 1
	ts := startServer(t, crowded)
	rec := ts.CheckRefusal(proxytest.ReadAnswer(t, ts.Dial()), 503, "connection_limit_reached")
	rec.Want(t, "rule", "descriptors")
	if most := maxDescriptors(); most <= leak.InUse(nil).Descriptors {
		t.Skipf("%d descriptors are few", most)
	}
	ts = startServer(t, &Server{})
	ts.Refused(proxytest.ConnectHead("example.test:99999"), 400, "http_request_error")
}
