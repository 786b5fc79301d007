package tunnel

import (
	"net"
	"testing"
)

// serveProxy serves l with a Server of this module, to any target.
func serveProxy(tb testing.TB, s *Server, l net.Listener) *runningProxy {
	tb.Helper()
	log := newAccessLog()
	s.AccessLog, s.Policy.Allow = log.logger(), []Pattern{mustPattern(tb, "*:*")}
	return startProxy(tb, s, l, log, ErrServerClosed)
}
