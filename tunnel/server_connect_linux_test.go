package tunnel

import (
	"testing"
	"time"
)

// RULES 16: a target that does not answer.
func TestRefusalWhenConnectingTimesOut(t *testing.T) {
	addr := unanswered(t)
	ts := startServer(t, &Server{ConnectTimeout: 30 * time.Millisecond})
	a := ts.ask(connectHead(addr))
	rec := ts.checkRefusal(a, 504, "connection_timeout")
	rec.want(t, "addr", addr)
	through := startServer(t, &Server{ConnectTimeout: 30 * time.Millisecond, Via: []ViaRule{{Route: mustRoute(t, addr)}}})
	through.refused(connectHead("example.test:443"), 504, "connection_timeout")
}

// A connection that is being opened when everything ends is given up.
func TestCloseWhileConnecting(t *testing.T) {
	ts := startServer(t, &Server{ConnectTimeout: time.Hour})
	conn := ts.dial()
	send(t, conn, connectHead(unanswered(t)))
	eventually(t, "the tunnel has its slot", func() bool { return ts.server.Open() == 1 })
	ts.server.Close()
	ts.record(eventRequest).want(t, "error", "proxy_internal_response")
}
