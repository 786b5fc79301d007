package proxy

import (
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
)

// The target does not answer.
func TestRefusalWhenConnectingTimesOut(t *testing.T) {
	addr := testkit.Unanswered(t)
	ts := startServer(t, &Server{ConnectTimeout: 30 * time.Millisecond})
	a := ts.Ask(proxytest.ConnectHead(addr))
	rec := ts.CheckRefusal(a, 504, "connection_timeout")
	rec.Want(t, "addr", addr)
	through := startServer(t, &Server{ConnectTimeout: 30 * time.Millisecond, Via: []ViaRule{{Route: testkit.MustRoute(t, addr)}}})
	through.Refused(proxytest.ConnectHead("example.test:443"), 504, "connection_timeout")
}

// Close gives up a connection that is being opened.
func TestCloseWhileConnecting(t *testing.T) {
	ts := startServer(t, &Server{ConnectTimeout: time.Hour})
	conn := ts.Dial()
	testkit.Send(t, conn, proxytest.ConnectHead(testkit.Unanswered(t)))
	testkit.Eventually(t, "the tunnel has its slot", func() bool { return ts.server.Open() == 1 })
	ts.server.Close()
	ts.NextRecord(accesslog.EventRequest).Want(t, "error", "proxy_internal_response")
}
