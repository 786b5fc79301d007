package sock_test

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
)

// What leads to this host is for the kernel to say: by an address of an interface, by a
// route that makes a whole network local, in any table, and from the moment it is so.
func TestLeadsHere(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	here := func(addr string, want bool) {
		t.Helper()
		ap := netip.AddrPortFrom(netip.MustParseAddr(addr), 8080)
		if want { // the kernel installs the route of an IPv6 address on a worker of its own
			testkit.Eventually(t, addr+" leads here", func() bool { return sock.LeadsHere(ap) })
			return
		}
		if got := sock.LeadsHere(ap); got != want {
			t.Errorf("LeadsHere(%v) = %v", ap, got)
		}
	}
	ip := func(arg ...string) { t.Helper(); testkit.Run(t, "ip", arg...) }
	for _, addr := range []string{"9.9.9.9", "5.5.5.5", "7.7.7.7", "2600:1::1", "2600:99::7"} {
		here(addr, false) // there is no route at all
	}
	for _, addr := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"} {
		here(addr, true)
	}
	ip("route", "add", "default", "dev", "lo") // which is no route of the type local
	ip("-6", "route", "add", "default", "dev", "lo")
	ip("addr", "add", "198.51.100.2/32", "dev", "lo")
	ip("-6", "addr", "add", "2001:db8::2/128", "dev", "lo", "nodad")
	for _, addr := range []string{"9.9.9.9", "5.5.5.5", "7.7.7.7", "8.8.8.8", "198.51.100.3", "2600:1::1", "2600:99::7", "2001:db8::3"} {
		here(addr, false)
	}
	here("198.51.100.2", true)
	here("::ffff:198.51.100.2", true)
	here("2001:db8::2", true)

	ip("route", "add", "local", "9.9.9.0/24", "dev", "lo")
	here("9.9.9.9", true)
	here("9.9.8.9", false)
	ip("-6", "route", "add", "local", "2600:99::/64", "dev", "lo")
	here("2600:99::7", true)
	ip("route", "add", "local", "7.7.7.0/24", "dev", "lo", "table", "100")
	here("7.7.7.7", false) // no rule leads to that table yet
	ip("rule", "add", "to", "7.7.7.0/24", "lookup", "100")
	here("7.7.7.7", true)
	ip("rule", "add", "dport", "8080", "ipproto", "tcp", "lookup", "101")
	ip("route", "add", "local", "6.6.6.0/24", "dev", "lo", "table", "101")
	here("6.6.6.6", true)
	if sock.LeadsHere(netip.MustParseAddrPort("6.6.6.6:8081")) {
		t.Error("a rule for one port counts for another")
	}
	ip("addr", "add", "5.5.5.5/32", "dev", "lo")
	here("5.5.5.5", true)
	ip("addr", "del", "5.5.5.5/32", "dev", "lo")
	here("5.5.5.5", false)
	ip("addr", "add", "203.0.113.1/24", "dev", "lo") // on lo, that makes the network local
	here("203.0.113.77", true)
	ip("route", "add", "blackhole", "4.4.4.0/24")
	here("4.4.4.4", false)
	ip("route", "add", "prohibit", "3.3.3.0/24")
	here("3.3.3.3", false)

	ip("route", "add", "local", "11.11.11.0/24", "dev", "lo", "src", "198.51.100.2")
	for _, addr := range []string{"11.11.11.11", "9.9.9.9", "198.51.100.2", "127.0.0.1", "2600:99::7", "2001:db8::2", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(map[bool]string{true: "::", false: "0.0.0.0"}[netip.MustParseAddr(addr).Is6()], "0"))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := sock.Connect(context.Background(), netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(l.Addr().(*net.TCPAddr).Port)))
		if err != nil {
			t.Fatalf("%s: %v", addr, err)
		}
		if !sock.EndsHere(conn) {
			t.Errorf("the connection from %v to %v is not known to end here", conn.LocalAddr(), conn.RemoteAddr())
		}
		conn.Close()
		l.Close()
	}
}

// A connection that ends elsewhere is told from one that ends here by its near end.
func TestEndsHereLooksAtTheConnection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		near, far string
		want      bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"127.0.0.1:1", "198.51.100.1:2", true},
		{"192.0.2.1:1", "198.51.100.1:2", false},
		{"[2001:db8::1]:1", "[2001:db8::1]:2", true},
		{"[::1]:1", "[2001:db8::1]:2", true},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:2", true},
	} {
		conn := ends{nil, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.near)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.far))}
		if got := sock.EndsHere(conn); got != tt.want {
			t.Errorf("from %s to %s: %v", tt.near, tt.far, got)
		}
	}
	if sock.EndsHere(ends{nil, &net.UnixAddr{}, &net.UnixAddr{}}) {
		t.Error("a unix socket is no TCP connection")
	}
}

// ends is a connection between two addresses.
type ends struct {
	net.Conn
	near, far net.Addr
}

func (e ends) LocalAddr() net.Addr  { return e.near }
func (e ends) RemoteAddr() net.Addr { return e.far }
