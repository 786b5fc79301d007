package proxy

import (
	"net"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
)

// testServer is a Server that serves on loopback, and its access log.
type testServer struct {
	*proxytest.Proxy
	server *Server
}

// startServer starts s on 127.0.0.1. If Policy.Allow is nil, every target is allowed. At
// the end of the test the Server is closed, and nothing may be held any more.
func startServer(tb testing.TB, s *Server) *testServer {
	tb.Helper()
	return startServerOn(tb, s, testkit.Listen(tb, "127.0.0.1:0"))
}

func startServerOn(tb testing.TB, s *Server, l net.Listener) *testServer {
	tb.Helper()
	log := proxytest.NewAccessLog()
	if s.Policy.Allow == nil {
		s.Policy.Allow = []policy.Pattern{proxytest.MustPattern(tb, "*:*")}
	}
	s.AccessLog = log.Logger()
	tb.Cleanup(func() { wantNothingHeld(tb, s) }) // after Close
	ts := &testServer{proxytest.Start(tb, s, l, log, ErrServerClosed), s}
	awaitListening(tb, s, l)
	return ts
}

// wantNothingHeld checks that a Server that was closed has given back everything that its
// table counts. An attempt to connect that lost a race may end later.
func wantNothingHeld(tb testing.TB, s *Server) {
	tb.Helper()
	testkit.Eventually(tb, "nothing is held", func() bool {
		for kind := quota.Client; kind <= quota.Lookup; kind++ {
			if s.run.table.Held(kind) != 0 {
				return false
			}
		}
		return s.run.table.Tunnels() == 0
	})
}

// in returns the same server for a subtest.
func (ts *testServer) in(tb testing.TB) *testServer {
	return &testServer{ts.Proxy.In(tb), ts.server}
}

// serveOn calls Serve on a goroutine of its own, and returns once the listener is one of
// the server's. The channel served gets what Serve returns.
func serveOn(tb testing.TB, s *Server, l net.Listener, served chan<- error) {
	tb.Helper()
	go func() { served <- s.Serve(l) }()
	awaitListening(tb, s, l)
}

// awaitListening waits until l is one of the server's listeners. Otherwise a Shutdown, or
// a client that asks for the listener itself, would depend on whether the goroutine that
// calls Serve has run yet.
func awaitListening(tb testing.TB, s *Server, l net.Listener) {
	tb.Helper()
	testkit.Eventually(tb, "the server listens", func() bool {
		s.run.mu.Lock()
		defer s.run.mu.Unlock()
		for ln := range s.run.listeners {
			if ln.Listener == l {
				return true
			}
		}
		return false
	})
}
