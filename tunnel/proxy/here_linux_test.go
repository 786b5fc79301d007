package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// Whatever the routing table makes this host's is refused as 127.0.0.1 is, before a
// packet is sent, where loopback is not allowed, and so is a listener of the Server's.
func TestWhatLeadsHereIsNoTarget(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	ip := func(arg ...string) { t.Helper(); testkit.Run(t, "ip", arg...) }
	ip("route", "add", "default", "dev", "lo")
	ip("route", "add", "local", "9.9.9.0/24", "dev", "lo")
	ip("route", "add", "local", "7.7.7.0/24", "dev", "lo", "table", "100")
	ip("rule", "add", "to", "7.7.7.0/24", "lookup", "100")
	ip("-6", "route", "add", "default", "dev", "lo")
	ip("-6", "route", "add", "local", "2600:99::/64", "dev", "lo")
	canary := testkit.StartAt(t, "[::]:0", tunneltest.Echo)
	_, port, _ := net.SplitHostPort(canary.Addr())

	names := testkit.FakeResolver(func(_ context.Context, host string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr(map[string]string{"v4.test": "9.9.9.9", "v6.test": "2600:99::1", "mapped.test": "::ffff:9.9.9.9"}[host])}, nil
	})
	serve := func(s *Server) *testServer {
		s.Resolver, s.AllowClient = names, networks("127.0.0.0/8")
		ts := startServerOn(t, s, testkit.Listen(t, "0.0.0.0:0"))
		_, own, _ := net.SplitHostPort(ts.Addr)
		ts.Addr = "127.0.0.1:" + own
		return ts
	}
	ts := serve(&Server{})
	refused := func(ts *testServer, host, port, rule string) {
		t.Helper()
		ts.CheckRefusal(ts.Ask(proxytest.ConnectHead(host+":"+port)), 403, "destination_ip_prohibited").Want(t, "rule", rule)
		plain := "GET http://" + host + ":" + port + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
		ts.CheckRefusal(ts.Ask(plain), 403, "destination_ip_prohibited").Want(t, "rule", rule)
	}
	ip("addr", "add", "5.5.5.5/32", "dev", "lo") // a moment ago
	_, own, _ := net.SplitHostPort(ts.Addr)
	for _, host := range []string{"9.9.9.9", "[::ffff:9.9.9.9]", "[2600:99::1]", "7.7.7.7", "v4.test", "v6.test", "mapped.test", "5.5.5.5", "[64:ff9b::909:909]"} {
		refused(ts, host, port, "default")
		if !strings.Contains(host, ":99") && host != "v6.test" && host != "[64:ff9b::909:909]" { // it listens by IPv4
			refused(ts, host, own, "own listener")
		}
	}

	// An address that became this host's after it was judged is found by the connection.
	missed := serve(&Server{Policy: policy.Policy{LeadsHere: func(netip.AddrPort) bool { return false }}})
	for _, host := range []string{"9.9.9.9", "[2600:99::1]", "v4.test", "mapped.test"} {
		refused(missed, host, port, "default")
	}

	// Where loopback is allowed, so is what leads there, but for the own listener.
	open := serve(&Server{Policy: policy.Policy{AllowAddr: []policy.AddrRule{policy.ClassRule(policy.ClassPublic), policy.ClassRule(policy.ClassLoopback)}}})
	for _, host := range []string{"9.9.9.9", "[2600:99::1]", "5.5.5.5"} {
		conn := open.Open(host + ":" + port)
		testkit.Send(t, conn, "hello")
		testkit.Expect(t, conn, "hello")
	}
	_, own, _ = net.SplitHostPort(open.Addr)
	refused(open, "9.9.9.9", own, "own listener")
}
