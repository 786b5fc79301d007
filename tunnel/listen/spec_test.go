package listen

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
)

func TestParse(t *testing.T) {
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
		got, err := Parse(tt.in)
		if err != nil || got != (Spec{Network: tt.network, Address: tt.address}) {
			t.Errorf("Parse(%q) = %+v, %v", tt.in, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q reads as %+v, %v", got.String(), again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "3128", "127.0.0.1", "::1:3128", "[::1]", "http://", "http://127.0.0.1", "https://127.0.0.1", "socks5://127.0.0.1:1",
		"127.0.0.1:65536", "127.0.0.1:http", "127.0.0.1:", "127.0.0.1:-1", "http://127.0.0.1:3128/x", "http://u@127.0.0.1:3128",
		"127.0.0.1:3128?x", "a b:3128", "unix:", "unix:/" + strings.Repeat("x", 200), "unix:/a\x00b",
	} {
		if got, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", in, got)
		}
	}
}

func listenUnixAt(path string) (net.Listener, error) {
	return Spec{Network: "unix", Address: path}.Listen(context.Background())
}

func TestUnixListenerTakesAStaleSocketOver(t *testing.T) {
	path := testkit.SocketPath(t)
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
	path := testkit.SocketPath(t)
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
	path := testkit.SocketPath(t)
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
	spec := Spec{Network: "tcp", Address: first.Addr().String()}
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
	l, err := Spec{Network: "tcp", Address: "0.0.0.0:0"}.Listen(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !l.Addr().(*net.TCPAddr).IP.Equal(net.IPv4zero) {
		t.Errorf("it listens on %v", l.Addr())
	}
}

func TestURL(t *testing.T) {
	for want, addr := range map[string]net.Addr{
		"http://127.0.0.1:3128": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3128},
		"http://[::1]:3128":     &net.TCPAddr{IP: net.IPv6loopback, Port: 3128},
		"unix:/run/c":           &net.UnixAddr{Net: "unix", Name: "/run/c"},
	} {
		if got := URL(&proxytest.FakeListener{At: addr}); got != want {
			t.Errorf("URL %q, want %q", got, want)
		}
	}
}
