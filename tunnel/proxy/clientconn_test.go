package proxy

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"culvert/tunnel/internal/proxytest"
)

// A client that is not served is refused before it sends a byte.
func TestClientsAreJudgedBeforeAnyHead(t *testing.T) {
	for _, tt := range []struct {
		name    string
		allow   []netip.Prefix
		allowed bool
	}{
		{"none given", nil, true},
		{"its network", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}, true},
		{"its address", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, true},
		{"another network", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, false},
		{"none at all", []netip.Prefix{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := startServer(t, &Server{AllowClient: tt.allow, HeaderTimeout: time.Hour})
			conn := ts.Dial()
			if tt.allowed {
				ts.Refused(proxytest.ConnectHead("169.254.169.254:1"), 403, "destination_ip_prohibited")
				return
			}
			rec := ts.CheckRefusal(proxytest.ReadAnswer(t, conn), 403, "http_request_denied") // without having sent a byte
			rec.Want(t, "rule", "allow-client")
			rec.Want(t, "client", conn.LocalAddr().String())
		})
	}
}

// A dual-stack listener shows IPv4 clients with IPv4-mapped addresses.
func TestAllowClientKnowsMappedAddresses(t *testing.T) {
	ln := &listener{server: &Server{AllowClient: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, Listener: &proxytest.FakeListener{At: &net.TCPAddr{}}}
	for _, tt := range []struct {
		remote net.Addr
		want   bool
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 5}, true},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7").To16(), Port: 5}, true},
		{&net.TCPAddr{IP: net.ParseIP("192.0.3.7"), Port: 5}, false},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 5, Zone: "lo"}, false},
		{textAddr("192.0.2.7:5"), true},
		{textAddr("192.0.3.7:5"), false},
		{textAddr("pipe"), false}, // not an IP address: no network contains it
	} {
		c := newClientConn(ln, &addressedConn{remote: tt.remote})
		if got := c.local || ln.server.allowsClient(c.addr); got != tt.want {
			t.Errorf("client %v: allowed %v, want %v", tt.remote, got, tt.want)
		}
	}
}
