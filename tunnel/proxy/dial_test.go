package proxy

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// A name is resolved once, so that the second answer of a rebinding name server
// has no effect.
func TestConnectResolvesOnceAndDialsTheJudgedAddress(t *testing.T) {
	var asked atomic.Int32
	ts := startServer(t, &Server{Resolver: testkit.FakeResolver(func(_ context.Context, host string) ([]netip.Addr, error) {
		if asked.Add(1) > 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.3")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
	})})
	echo := testkit.StartAt(t, "127.0.0.2:0", tunneltest.Echo)
	conn := ts.Open("rebind.test:" + echo.Port())
	opened := ts.NextRecord(accesslog.EventOpen)
	opened.Want(t, "addr", echo.Addr())
	opened.Want(t, "target", "rebind.test:"+echo.Port())
	testkit.Send(t, conn, "hello")
	testkit.Expect(t, conn, "hello")
	if n := asked.Load(); n != 1 {
		t.Errorf("the name was resolved %d times", n)
	}
}

// The resolver's search list must not turn the name that was judged into another.
func TestConnectResolvesTheNameAsItStands(t *testing.T) {
	var name string
	ts := startServer(t, &Server{Resolver: exactResolver(func(host string) ([]netip.Addr, error) {
		name = host
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	})})
	ts.Refused(proxytest.ConnectHead("internal.example.test:443"), 502, "dns_error")
	if name != "internal.example.test." {
		t.Errorf("%q was resolved, want the root dot behind the name", name)
	}
}

type exactResolver func(host string) ([]netip.Addr, error)

func (f exactResolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return f(host)
}

// Every address is judged, and only those that passed are dialled.
func TestConnectJudgesEveryAddress(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	for _, tt := range []struct {
		name   string
		addrs  []string
		status int
		rule   string
	}{
		{"the one", []string{"127.0.0.1"}, 200, "allow *:*"},
		{"a forbidden one before it", []string{"127.0.0.66", "169.254.169.254", "127.0.0.1"}, 200, "allow *:*"},
		{"mapped", []string{"::ffff:127.0.0.1"}, 200, "allow *:*"},
		{"forbidden only", []string{"127.0.0.66", "169.254.169.254"}, 403, "deny-addr 127.0.0.66"},
		{"metadata", []string{"169.254.169.254"}, 403, "default"},
		{"link-local", []string{"fe80::1"}, 403, "default"},
		{"metadata in NAT64", []string{"64:ff9b::a9fe:a9fe"}, 403, "default"},
		{"mapped and forbidden", []string{"::ffff:127.0.0.66"}, 403, "deny-addr 127.0.0.66"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, &Server{Resolver: testkit.ResolveTo(tt.addrs...), Policy: policy.Policy{DenyAddr: []policy.AddrRule{proxytest.MustAddrRule(t, "127.0.0.66")}}})
			if tt.status == 200 {
				ts.Open("example.test:" + echo.Port())
				opened := ts.NextRecord(accesslog.EventOpen)
				opened.Want(t, "addr", echo.Addr())
				opened.Want(t, "rule", tt.rule)
				return
			}
			a := ts.Ask(proxytest.ConnectHead("example.test:" + echo.Port()))
			ts.CheckRefusal(a, tt.status, "destination_ip_prohibited").Want(t, "rule", tt.rule)
		})
	}
}

func TestConnectPolicyOfTargets(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo)
	port := echo.Port()
	ts := startServer(t, &Server{
		Resolver: testkit.ResolveTo("127.0.0.1"),
		Policy: policy.Policy{
			Allow: []policy.Pattern{proxytest.MustPattern(t, "*:"+port), proxytest.MustPattern(t, "[::1]:"+port)},
			Deny:  []policy.Pattern{proxytest.MustPattern(t, ".denied.test"), proxytest.MustPattern(t, "127.0.0.9"), proxytest.MustPattern(t, "10.0.0.0/8")},
		},
	})
	for _, tt := range []struct {
		target string
		token  string // "" = allowed
	}{
		{"example.test:" + port, ""},
		{"127.0.0.1:" + port, ""},
		{"undenied.test:" + port, ""},
		{"example.test:1", "http_request_denied"},
		{"denied.test:" + port, "http_request_denied"},
		{"DENIED.test:" + port, "http_request_denied"},
		{"denied.test.:" + port, "http_request_denied"},
		{"a.b.denied.test:" + port, "http_request_denied"},
		{"127.0.0.9:" + port, "http_request_denied"},
		{"10.1.2.3:" + port, "http_request_denied"},
		{"[::ffff:10.1.2.3]:" + port, "http_request_denied"},
		{"[::ffff:a01:203]:" + port, "http_request_denied"},
		{"169.254.169.254:" + port, "destination_ip_prohibited"},
		{"[fd00:ec2::254]:" + port, "destination_ip_prohibited"},
	} {
		t.Run(tt.target, func(t *testing.T) {
			ts := ts.in(t)
			if tt.token == "" {
				ts.Open(tt.target)
				return
			}
			ts.Refused(proxytest.ConnectHead(tt.target), 403, tt.token)
		})
	}
}

// A client without credentials learns nothing of the policy, and a
// user who is denied is not asked for a password again.
func TestConnectVerifiesBeforePolicy(t *testing.T) {
	ts := startServer(t, &Server{
		Verifier: proxytest.OneUser{User: "alice", Password: "secret"}, Resolver: testkit.NeverResolve(t),
		Policy: policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "denied.test")}},
	})
	ts.Refused(proxytest.ConnectHead("denied.test:443"), 407, "http_request_denied")
	ts.Refused(proxytest.ConnectHead("denied.test:443", testkit.Basic("alice", "wrong")), 407, "http_request_denied")
	a := ts.Refused(proxytest.ConnectHead("denied.test:443", testkit.Basic("alice", "secret")), 403, "http_request_denied")
	if a.Header.Get("Proxy-Authenticate") != "" {
		t.Error("a denial asks for credentials")
	}
	// A malformed request is refused as such, with credentials or without.
	ts.Refused("CONNECT denied.test HTTP/1.1\r\nHost: a\r\n\r\n", 400, "http_request_error")
}

func TestConnectFallsBackToTheNextAddress(t *testing.T) {
	echo := testkit.StartAt(t, "127.0.0.2:0", tunneltest.Echo)
	ts := startServer(t, &Server{Resolver: testkit.ResolveTo("127.0.0.1", "127.0.0.2")})
	ts.Open("example.test:" + echo.Port())
	ts.NextRecord(accesslog.EventOpen).Want(t, "addr", echo.Addr())
}
