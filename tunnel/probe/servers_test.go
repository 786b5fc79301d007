package probe

import (
	"net"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/policy"
	"culvert/tunnel/proxy"
)

// serveProxy serves l with a Server of this module, to any target.
func serveProxy(tb testing.TB, s *proxy.Server, l net.Listener) *proxytest.Proxy {
	tb.Helper()
	log := proxytest.NewAccessLog()
	s.AccessLog, s.Policy.Allow = log.Logger(), []policy.Pattern{proxytest.MustPattern(tb, "*:*")}
	return proxytest.Start(tb, s, l, log, proxy.ErrServerClosed)
}
