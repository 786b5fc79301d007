package proxy

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/resolve"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// searching returns a resolver whose search list is corp.test and lab.test, and which
// knows the given names.
func searching(known map[string]string) *resolve.Resolver {
	return &resolve.Resolver{
		Source: testkit.FakeResolver(func(_ context.Context, host string) ([]netip.Addr, error) {
			if addr := known[host]; addr != "" {
				return []netip.Addr{netip.MustParseAddr(addr)}, nil
			}
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}),
		Search: func(name string) []string { return []string{name + ".corp.test", name + ".lab.test", name} },
	}
}

// A short name is judged as each full name that the search list makes of it, in CONNECT
// and plain requests alike, and the log has the full name.
func TestSearchListDoesNotPassADeny(t *testing.T) {
	origin := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")...)
	_, port, _ := net.SplitHostPort(origin.Addr())
	deny := []policy.Pattern{
		proxytest.MustPattern(t, "vault.corp.test"), proxytest.MustPattern(t, "*.deny.test"), proxytest.MustPattern(t, "port.lab.test:"+port),
		proxytest.MustPattern(t, "other.lab.test:1"),
	}
	known := map[string]string{
		"vault.corp.test": "127.0.0.1", "vault.lab.test": "127.0.0.1", "web.lab.test": "127.0.0.1", "port.lab.test": "127.0.0.1",
		"other.lab.test": "127.0.0.1", "metadata.corp.test": "169.254.169.254", "bare": "127.0.0.1",
	}
	ts := startServer(t, &Server{Resolver: searching(known), Policy: policy.Policy{Deny: deny}})
	for _, tt := range []struct {
		host, full, rule string
		token            string // of the refusal; "" = it is reached
	}{
		{"vault", "vault.corp.test", "deny vault.corp.test", "http_request_denied"}, // and vault.lab.test, behind it, is not reached
		{"vault.lab.test", "", "", ""},
		{"web", "web.lab.test", "", ""},
		{"WEB", "web.lab.test", "", ""},
		{"port", "port.lab.test", "deny port.lab.test:" + port, "http_request_denied"},
		{"other", "other.lab.test", "", ""},
		{"bare", "", "", ""},
		{"metadata", "metadata.corp.test", "default", "destination_ip_prohibited"},
	} {
		if tt.token == "" {
			ts.Open(tt.host + ":" + port)
			opened := ts.NextRecord(accesslog.EventOpen)
			conn := ts.Dial()
			testkit.Send(t, conn, "GET http://"+tt.host+":"+port+"/ HTTP/1.1\r\nHost: a\r\n\r\n")
			testkit.Expect(t, conn, "HTTP/1.1 200 OK\r\n")
			plain := ts.NextRecord(accesslog.EventRequest)
			if tt.full == "" {
				opened.WantAbsent(t, "full_name")
				plain.WantAbsent(t, "full_name")
			} else {
				opened.Want(t, "full_name", tt.full)
				plain.Want(t, "full_name", tt.full)
			}
			continue
		}
		for _, request := range []string{proxytest.ConnectHead(tt.host + ":" + port), "GET http://" + tt.host + ":" + port + "/ HTTP/1.1\r\nHost: a\r\n\r\n"} {
			record := ts.CheckRefusal(ts.Ask(request), 403, tt.token)
			record.Want(t, "rule", tt.rule)
			record.Want(t, "full_name", tt.full)
		}
	}
}

// With ViaResolve the name is resolved here, and so is its search list.
func TestSearchListDoesNotPassADenyWithViaResolve(t *testing.T) {
	parent := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(tunneltest.Echo))
	ts := startServer(t, &Server{Resolver: searching(map[string]string{"vault.corp.test": "203.0.113.1", "web.lab.test": "1.1.1.1"}),
		Via: []ViaRule{viaRule(t, "http://"+parent.Addr())}, ViaResolve: true, Policy: policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "*.corp.test:443")}}})
	ts.CheckRefusal(ts.Ask(proxytest.ConnectHead("vault:443")), 403, "http_request_denied").Want(t, "full_name", "vault.corp.test")
	if heads := parent.Heads(); len(heads) != 0 {
		t.Errorf("the parent was asked: %q", heads)
	}
	ts.Open("web:80")
	ts.NextRecord(accesslog.EventOpen).Want(t, "full_name", "web.lab.test")
}

// The refusal of a name with a dot tells that it was not completed.
func TestNameWithADotIsNotCompleted(t *testing.T) {
	ts := startServer(t, &Server{Resolver: searching(map[string]string{"web.shop.corp.test": "127.0.0.1"})})
	record := ts.CheckRefusal(ts.Ask(proxytest.ConnectHead("web.shop:443")), 502, "dns_error")
	record.Want(t, "detail", "the name does not exist; a name with a dot is not completed by the search list")
}
