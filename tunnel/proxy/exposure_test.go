package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/listen"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// Nobody runs an open proxy by accident.
func TestCheckExposure(t *testing.T) {
	loopback, wildcard := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.IPv6unspecified, Port: 1}
	for _, tt := range []struct {
		name   string
		addr   net.Addr
		server *Server
		open   bool
	}{
		{"loopback", loopback, &Server{}, false},
		{"all of 127/8", &net.TCPAddr{IP: net.IPv4(127, 9, 9, 9), Port: 1}, &Server{}, false},
		{"::1", &net.TCPAddr{IP: net.IPv6loopback, Port: 1}, &Server{}, false},
		{"unix", &net.UnixAddr{Net: "unix", Name: "/x"}, &Server{}, false},
		{"wildcard", wildcard, &Server{}, true},
		{"IPv4 wildcard", &net.TCPAddr{IP: net.IPv4zero, Port: 1}, &Server{}, true},
		{"no address", &net.TCPAddr{Port: 1}, &Server{}, true},
		{"private address", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, &Server{}, true},
		{"an address of another kind", textAddr("pipe"), &Server{}, true},
		{"users", wildcard, &Server{Verifier: proxytest.OneUser{}}, false},
		{"client network", wildcard, &Server{AllowClient: networks("10.0.0.0/8")}, false},
		{"client networks", wildcard, &Server{AllowClient: networks("10.0.0.0/8", "fd00::/8")}, false},
		{"the whole of IPv4", wildcard, &Server{AllowClient: networks("0.0.0.0/0")}, true},
		{"the whole of IPv4 in two halves", wildcard, &Server{AllowClient: networks("0.0.0.0/1", "128.0.0.0/1")}, true},
		{"most of IPv4", wildcard, &Server{AllowClient: networks("0.0.0.0/2", "128.0.0.0/2", "64.0.0.0/2")}, true},
		{"the whole of IPv6", wildcard, &Server{AllowClient: networks("10.0.0.0/8", "::/0")}, true},
		{"the whole world and users", wildcard, &Server{AllowClient: networks("::/0"), Verifier: proxytest.OneUser{}}, false},
		{"no client network", wildcard, &Server{AllowClient: []netip.Prefix{}}, true},
	} {
		err := tt.server.CheckExposure(&proxytest.FakeListener{At: tt.addr})
		if (err != nil) != tt.open {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && !strings.Contains(err.Error(), tt.addr.String()) {
			t.Errorf("%s: the error does not name the listener: %v", tt.name, err)
		}
	}
}

func listenUnixAt(path string) (net.Listener, error) {
	return listen.Spec{Network: "unix", Address: path}.Listen(context.Background())
}

func TestUnixListenerIsPrivate(t *testing.T) {
	path := testkit.SocketPath(t)
	l, err := listenUnixAt(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if got, want := listen.URL(l), "unix:"+path; got != want {
		t.Errorf("URL %q, want %q", got, want)
	}
	ts := startServerOn(t, &Server{AllowClient: []netip.Prefix{}, Resolver: testkit.FailToResolve(testkit.NoSuchName)}, l)
	a := ts.Ask(proxytest.ConnectHead("example.test:443")) // the socket's mode decides, and not AllowClient
	rec := ts.CheckRefusal(a, 502, "dns_error")
	rec.Want(t, "client", "unix")
	rec.Want(t, "listener", "unix:"+path)
	ts.server.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// A Server on a unix socket does not connect to this host, as one on loopback TCP does.
func TestUnixListenerAllowsPublicAddressesOnly(t *testing.T) {
	l, err := listenUnixAt(testkit.SocketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	ts := startServerOn(t, &Server{}, l)
	ts.Refused(proxytest.ConnectHead("127.0.0.1:443"), 403, "destination_ip_prohibited")
	ts.Refused(proxytest.ConnectHead("10.0.0.1:443"), 403, "destination_ip_prohibited")
}

// A Server's own listeners are never a target.
func TestOwnListenerIsNeverATarget(t *testing.T) {
	parent := tunneltest.StartProxy(t, tunneltest.Honest()...)
	loopback := startServer(t, &Server{Resolver: testkit.ResolveTo("127.0.0.1")})
	_, port, _ := net.SplitHostPort(loopback.Addr)
	for _, target := range []string{"127.0.0.1", "example.test", "localhost.", "0.0.0.0", "[::ffff:127.0.0.1]"} {
		a := loopback.Ask(proxytest.ConnectHead(target + ":" + port))
		loopback.CheckRefusal(a, 403, "destination_ip_prohibited").Want(t, "rule", "own listener")
	}
	a := loopback.Ask("GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: a\r\n\r\n")
	loopback.CheckRefusal(a, 403, "destination_ip_prohibited").Want(t, "rule", "own listener")

	// The same port on another address is not the Server's.
	echo := testkit.StartAt(t, "127.0.0.2:"+port, tunneltest.Echo)
	loopback.Open(echo.Addr())

	// A parent may trust this proxy where it would not trust the client.
	through := startServer(t, &Server{Via: []ViaRule{{Route: testkit.MustRoute(t, parent.Addr())}}})
	a = through.Ask(proxytest.ConnectHead(through.Addr))
	through.CheckRefusal(a, 403, "destination_ip_prohibited").Want(t, "rule", "own listener")
	if heads := parent.Heads(); len(heads) != 0 {
		t.Errorf("the parent was asked: %q", heads)
	}
}

// A listener on the wildcard address is reached by every address of this host.
func TestOwnListenerOnAWildcardIsNeverATarget(t *testing.T) {
	all := []policy.AddrRule{proxytest.MustAddrRule(t, "loopback"), proxytest.MustAddrRule(t, "private"), proxytest.MustAddrRule(t, "public"), proxytest.MustAddrRule(t, "special"), proxytest.MustAddrRule(t, "link-local")}
	for _, address := range []string{"0.0.0.0:0", "[::]:0"} {
		t.Run(address, func(t *testing.T) {
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Skip("this machine has no such address: ", err)
			}
			port := uint16(l.Addr().(*net.TCPAddr).Port)
			s := &Server{Policy: policy.Policy{AllowAddr: all}, AllowClient: networks("127.0.0.0/8")}
			ts := startServerOn(t, s, l)
			ts.Addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String()
			targets := []string{"127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"}
			interfaces, err := net.InterfaceAddrs()
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range interfaces {
				targets = append(targets, i.(*net.IPNet).IP.String())
			}
			for _, target := range targets {
				a := ts.Ask(proxytest.ConnectHead(netip.AddrPortFrom(netip.MustParseAddr(target), port).String()))
				ts.CheckRefusal(a, 403, "destination_ip_prohibited").Want(t, "rule", "own listener")
			}
		})
	}
}

// A claimed listener is the Server's own although Serve was not called for it yet, and
// until Serve for it returns.
func TestClaimedListenersAreNoTarget(t *testing.T) {
	s := &Server{Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:*")}}}
	second := testkit.Listen(t, "127.0.0.1:0")
	s.Claim(second)
	ts := startServer(t, s)
	refused := func() {
		t.Helper()
		a := ts.Ask(proxytest.ConnectHead(second.Addr().String()))
		ts.CheckRefusal(a, 403, "destination_ip_prohibited").Want(t, "rule", "own listener")
	}
	refused()
	served := make(chan error, 1)
	serveOn(t, s, second, served)
	refused()
	second.Close()
	testkit.Receive(t, "the end of Serve", served)
	if bound := s.boundTo(uint16(second.Addr().(*net.TCPAddr).Port)); len(bound) > 0 {
		t.Errorf("a closed listener is still the Server's own: %v", bound)
	}
}

// No listener of a Server is a target through another.
func TestOwnListenersKnowEachOther(t *testing.T) {
	s := &Server{Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:*")}}}
	ts := startServer(t, s)
	other := testkit.Listen(t, "127.0.0.1:0")
	served := make(chan error, 1)
	serveOn(t, s, other, served)
	a := ts.Ask(proxytest.ConnectHead(other.Addr().String()))
	ts.CheckRefusal(a, 403, "destination_ip_prohibited").Want(t, "rule", "own listener")
	s.Close()
	if err := testkit.Receive(t, "Serve", served); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

// Four lines say which clients may reach which targets.
func TestSummary(t *testing.T) {
	loopback := &proxytest.FakeListener{At: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}}
	wildcard := &proxytest.FakeListener{At: &net.TCPAddr{IP: net.IPv4zero, Port: 1}}
	via, err := ParseViaRule("*.corp.test=http://alice:s3cret@proxy.test:3128")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		server *Server
		l      net.Listener
		want   []string
	}{
		{&Server{}, loopback, []string{
			"clients: anyone on this machine", "targets: any host on ports 22, 80, 443", "addresses: public, private, loopback", "route: direct"}},
		{&Server{Verifier: proxytest.OneUser{}}, wildcard, []string{
			"clients: anyone who reaches the listener, with user name and password", "targets: any host on ports 22, 80, 443", "addresses: public", "route: direct"}},
		{&Server{AllowClient: networks("10.0.0.0/8")}, wildcard, []string{
			"clients: from 10.0.0.0/8", "targets: any host on ports 22, 80, 443", "addresses: public", "route: direct"}},
		{&Server{Via: []ViaRule{via}}, &proxytest.FakeListener{At: &net.UnixAddr{Net: "unix", Name: "/x"}}, []string{
			"clients: this user, by the socket's mode 0600", "targets: any host on ports 22, 80, 443",
			"addresses: public; addresses behind http://proxy.test:3128 are the parent's to judge",
			"route: *.corp.test=http://proxy.test:3128; else direct"}},
	} {
		got := tt.server.Summary(tt.l)
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("summary\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// networks parses client networks.
func networks(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
