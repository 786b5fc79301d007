package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/testkit"
)

// A client that leaves while its target is connected to gives back slot and socket.
func TestClientThatLeavesFreesTheSocketToItsTarget(t *testing.T) {
	for kind, request := range leavingRequests {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			silent := testkit.Unanswered(t)
			ts := startServer(t, &Server{ConnectTimeout: -1})
			conn := ts.Dial()
			testkit.Send(t, conn, strings.ReplaceAll(request, "TARGET", silent))
			ts.awaitHeld(quota.Dial, 1)
			conn.Close()
			ts.NextRecord(accesslog.EventRequest).Want(t, "error", "connection_terminated")
			ts.awaitHeld(quota.Dial, 0)
			ts.awaitHeld(quota.Client, 0)
		})
	}
}

// The descriptors of look-ups are their client's, and are given back when it leaves.
func TestPendingLookupsAreTheirClients(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	testkit.NameServer(t, "", func(testkit.DNSQuestion) testkit.DNSReply { return testkit.DNSReply{Mute: true} })
	ts := startServer(t, &Server{ConnectTimeout: -1, MaxConnectionsPerClient: 9})
	const each = 4 // the client's connection, the one to be made, and one question for each IP version
	var conns []net.Conn
	for i, request := range []string{proxytest.ConnectHead("a.test:80"), "GET http://b.test/ HTTP/1.1\r\nHost: a\r\n\r\n"} {
		conn := ts.Dial()
		testkit.Send(t, conn, request)
		conns = append(conns, conn)
		ts.awaitHeld(quota.Lookup, 2*(i+1))
	}
	if held, _ := ts.server.run.table.HeldBy(netip.MustParseAddr("127.0.0.1")); held != 2*each {
		t.Errorf("the client holds %d descriptors", held)
	}
	ts.CheckRefusal(ts.Ask(proxytest.ConnectHead("c.test:80")), 503, "connection_limit_reached").Want(t, "rule", "max-connections-per-client")
	for _, conn := range conns {
		conn.Close()
	}
	for kind := quota.Client; kind <= quota.Lookup; kind++ {
		ts.awaitHeld(kind, 0)
	}
}
