package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/listen"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

func TestParseListen(t *testing.T) {
	for _, tt := range []struct{ in, network, address string }{
		{"http://127.0.0.1:3128", "tcp", "127.0.0.1:3128"},
		{"HTTP://127.0.0.1:3128/", "tcp", "127.0.0.1:3128"},
		{"127.0.0.1:3128", "tcp", "127.0.0.1:3128"},
		{":3128", "tcp", ":3128"},
		{"http://:3128", "tcp", ":3128"},
		{"127.0.0.1:0", "tcp", "127.0.0.1:0"},
		{"[::1]:3128", "tcp", "[::1]:3128"},
		{"http://[fe80::1%lo]:3128", "tcp", "[fe80::1%lo]:3128"},
		{"localhost:3128", "tcp", "localhost:3128"},
		{"unix:/run/culvert.sock", "unix", "/run/culvert.sock"},
		{"unix:///run/culvert.sock", "unix", "/run/culvert.sock"},
		{"unix:culvert.sock", "unix", "culvert.sock"},
	} {
		got, err := listen.Parse(tt.in)
		if err != nil || got != (listen.Spec{Network: tt.network, Address: tt.address}) {
			t.Errorf("ParseListen(%q) = %+v, %v", tt.in, got, err)
		}
		if again, err := listen.Parse(got.String()); err != nil || again != got {
			t.Errorf("%q reads as %+v, %v", got.String(), again, err)
		}
	}
}

func TestParseListenRefuses(t *testing.T) {
	for _, in := range []string{
		"", "3128", "127.0.0.1", "::1:3128", "[::1]", "http://", "http://127.0.0.1", "https://127.0.0.1", "socks5://127.0.0.1:1",
		"127.0.0.1:65536", "127.0.0.1:http", "127.0.0.1:", "127.0.0.1:-1", "http://127.0.0.1:3128/x", "http://u@127.0.0.1:3128",
		"127.0.0.1:3128?x", "a b:3128", "unix:", "unix:/" + strings.Repeat("x", 200), "unix:/a\x00b",
	} {
		if got, err := listen.Parse(in); err == nil {
			t.Errorf("ParseListen(%q) = %+v, want an error", in, got)
		}
	}
}

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

func socketPath(tb testing.TB) string {
	tb.Helper()
	if runtime.GOOS == "windows" {
		tb.Skip("sockets have no mode here")
	}
	return filepath.Join(tb.TempDir(), "s")
}

func listenUnixAt(path string) (net.Listener, error) {
	return listen.Spec{Network: "unix", Address: path}.Listen(context.Background())
}

func TestUnixListenerIsPrivate(t *testing.T) {
	path := socketPath(t)
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
	l, err := listenUnixAt(socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	ts := startServerOn(t, &Server{}, l)
	ts.Refused(proxytest.ConnectHead("127.0.0.1:443"), 403, "destination_ip_prohibited")
	ts.Refused(proxytest.ConnectHead("10.0.0.1:443"), 403, "destination_ip_prohibited")
}

func TestUnixListenerTakesAStaleSocketOver(t *testing.T) {
	path := socketPath(t)
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false) // like one that a killed process has left
	stale.Close()
	l, err := listenUnixAt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestUnixListenerNeverStealsALiveSocket(t *testing.T) {
	path := socketPath(t)
	live, err := listenUnixAt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if l, err := listenUnixAt(path); err == nil {
		l.Close()
		t.Fatal("a live socket was taken over")
	} else if !strings.Contains(err.Error(), path) {
		t.Errorf("the error does not name the socket: %v", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal("the live socket is gone: ", err)
	}
	conn.Close()
}

func TestUnixListenerNeverRemovesAFile(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listenUnixAt(path); err == nil {
		l.Close()
		t.Error("a file was taken for a stale socket")
	} else if !errors.Is(err, os.ErrExist) {
		t.Error("the error does not say what is in the way: ", err)
	}
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file is gone: %v", err)
	}
	// Nor through a symbolic link, which may lead anywhere.
	link := path + "l"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if l, err := listenUnixAt(link); err == nil {
		l.Close()
		t.Error("a link was taken for a stale socket")
	}
}

// An abstract socket has no mode, and so does not keep other users out.
func TestUnixListenerIsNotAbstract(t *testing.T) {
	if l, err := listenUnixAt("@culvert-test"); err == nil {
		defer l.Close()
		if _, err := os.Lstat("@culvert-test"); err != nil {
			t.Error("an abstract socket was opened: anyone may use it")
		}
	}
}

func TestListenOnATakenPort(t *testing.T) {
	first := testkit.Listen(t, "127.0.0.1:0")
	spec := listen.Spec{Network: "tcp", Address: first.Addr().String()}
	l, err := spec.Listen(context.Background())
	if err == nil {
		l.Close()
		t.Fatal("the port was taken twice")
	}
	if got, want := err.Error(), "cannot listen on http://"+spec.Address+": "; !strings.HasPrefix(got, want) {
		t.Errorf("error %q, want %q in front", got, want)
	}
}

// By default package net opens 0.0.0.0 for IPv6 too.
func TestListenOnIPv4WildcardIsIPv4Only(t *testing.T) {
	l, err := listen.Spec{Network: "tcp", Address: "0.0.0.0:0"}.Listen(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !l.Addr().(*net.TCPAddr).IP.Equal(net.IPv4zero) {
		t.Errorf("it listens on %v", l.Addr())
	}
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

func TestListenerURL(t *testing.T) {
	for want, addr := range map[string]net.Addr{
		"http://127.0.0.1:3128": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3128},
		"http://[::1]:3128":     &net.TCPAddr{IP: net.IPv6loopback, Port: 3128},
		"unix:/run/c":           &net.UnixAddr{Net: "unix", Name: "/run/c"},
	} {
		if got := listen.URL(&proxytest.FakeListener{At: addr}); got != want {
			t.Errorf("URL %q, want %q", got, want)
		}
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
