package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// viaRule parses a rule.
func viaRule(t *testing.T, s string) ViaRule {
	t.Helper()
	rule, err := ParseViaRule(s)
	if err != nil {
		t.Fatal(err)
	}
	if rule.String() != s {
		t.Fatalf("%q became %q", s, rule)
	}
	return rule
}

// namesResolver knows some names.
type namesResolver map[string][]netip.Addr

func (r namesResolver) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if addrs := r[strings.TrimSuffix(name, ".")]; addrs != nil {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// A rule's routes are tried in order. A parent's refusal is final.
func TestViaAlternatives(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	dead, spare := "http://"+tunneltest.Unused(t), startServer(t, &Server{})
	lost := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n")...)
	denies := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")...)
	for _, tt := range []struct {
		name, rule, via string
		status          int
	}{
		{"the first is there", "http://" + spare.Addr + "|" + dead, "http://" + spare.Addr, 200},
		{"a dead parent", dead + "|http://" + spare.Addr, "http://" + spare.Addr, 200},
		{"a chain with a dead end", "http://" + spare.Addr + "," + dead + "|http://" + spare.Addr, "http://" + spare.Addr, 200},
		{"a parent without a way", "http://" + lost.Addr() + "|" + dead + "|http://" + spare.Addr, "http://" + spare.Addr, 200},
		{"direct at last", dead + "|direct", "", 200},
		{"no way at all", dead + "|http://" + lost.Addr(), "http://" + lost.Addr(), 502},
		{"a refusal is one", "http://" + denies.Addr() + "|direct", "http://" + denies.Addr(), 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, &Server{Via: []ViaRule{viaRule(t, tt.rule)}})
			if tt.status != 200 {
				token := map[int]string{403: "http_request_denied", 502: "destination_unavailable"}[tt.status]
				ts.CheckRefusal(ts.Ask(proxytest.ConnectHead(echo.Addr())), tt.status, token).Want(t, "via", tt.via)
				return
			}
			conn := ts.Open(echo.Addr())
			testkit.Send(t, conn, "hello")
			testkit.Expect(t, conn, "hello")
			ts.NextRecord(accesslog.EventOpen).Want(t, "via", tt.via)
		})
	}
}

// The policy applies to the route that is taken in the end: a direct one is judged.
func TestViaAlternativesAreJudged(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	ts := startServer(t, &Server{
		Via:    []ViaRule{viaRule(t, "http://"+tunneltest.Unused(t)+"|direct")},
		Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:*")}, DenyAddr: []policy.AddrRule{proxytest.MustAddrRule(t, "loopback")}},
	})
	ts.Refused(proxytest.ConnectHead(strings.Replace(echo.Addr(), "127.0.0.1", "localhost", 1)), 403, "destination_ip_prohibited")
}

// Plain requests take the next route if a parent cannot be connected to.
func TestViaAlternativesForPlainRequests(t *testing.T) {
	origin := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")...)
	for _, second := range []string{"direct", "http://" + startServer(t, &Server{}).Addr} {
		ts := startServer(t, &Server{Via: []ViaRule{viaRule(t, "http://"+tunneltest.Unused(t)+"|"+second)}})
		conn := ts.Dial()
		testkit.Send(t, conn, "POST http://"+origin.Addr()+"/ HTTP/1.1\r\nHost: "+origin.Addr()+"\r\nContent-Length: 4\r\n\r\nbody")
		testkit.Expect(t, conn, "HTTP/1.1 200 OK\r\n")
		if via := strings.TrimPrefix(second, "direct"); via != "" {
			ts.NextRecord(accesslog.EventRequest).Want(t, "via", via)
		}
	}
}

// With ViaResolve a parent is asked for judged addresses, not for names.
func TestViaResolve(t *testing.T) {
	resolver := namesResolver{"two.test": {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.7")}, "inside.test": {netip.MustParseAddr("10.0.0.1")}}
	parent := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(tunneltest.Echo))
	ts := startServer(t, &Server{
		Via: []ViaRule{viaRule(t, "http://"+parent.Addr())}, ViaResolve: true, Resolver: resolver,
		Policy: policy.Policy{AllowAddr: []policy.AddrRule{proxytest.MustAddrRule(t, "203.0.113.0/24")}},
	})
	conn := ts.Open("two.test:443")
	testkit.Send(t, conn, "hello")
	testkit.Expect(t, conn, "hello")
	if heads := parent.Heads(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT 203.0.113.7:443 HTTP/1.1\r\n") || strings.Contains(heads[0], "two.test") {
		t.Errorf("the parent got %q", heads)
	}
	ts.NextRecord(accesslog.EventOpen).Want(t, "target", "two.test:443")
	ts.Refused(proxytest.ConnectHead("inside.test:443"), 403, "destination_ip_prohibited")
	ts.Refused(proxytest.ConnectHead("nowhere.test:443"), 502, "dns_error")

	// Plain requests to a name use a tunnel to its judged address.
	ts.Refused("GET http://two.test:80/x HTTP/1.1\r\nHost: two.test\r\n\r\n", 502, "http_protocol_error") // by an echo
	if head := parent.Heads()[1]; !strings.HasPrefix(head, "CONNECT 203.0.113.7:80 HTTP/1.1\r\n") {
		t.Errorf("the parent got %q", head)
	}
}

// If a parent cannot reach one address, it is asked for the next.
func TestViaResolveTriesAddresses(t *testing.T) {
	resolver := namesResolver{"two.test": {netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")}}
	parent := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n")...)
	ts := startServer(t, &Server{
		Via: []ViaRule{viaRule(t, "http://"+parent.Addr())}, ViaResolve: true, Resolver: resolver,
		Policy: policy.Policy{AllowAddr: []policy.AddrRule{proxytest.MustAddrRule(t, "203.0.113.0/24")}},
	})
	ts.Refused(proxytest.ConnectHead("two.test:443"), 502, "destination_unavailable")
	if heads := parent.Heads(); len(heads) != 2 || !strings.HasPrefix(heads[1], "CONNECT 203.0.113.2:443 ") {
		t.Errorf("the parent got %q", heads)
	}
}
