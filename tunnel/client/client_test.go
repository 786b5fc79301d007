package client_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

func TestRequestHead(t *testing.T) {
	secret := &tunnel.Credentials{User: "Aladdin", Password: "open sesame"}
	for _, tt := range []struct {
		name   string
		target string
		edit   func(*client.Client)
		want   string
	}{
		{"bare", "example.com:22", func(*client.Client) {}, "CONNECT example.com:22 HTTP/1.1\r\nHost: example.com:22\r\n\r\n"},
		{"IPv6 in brackets", "[2001:DB8::1]:443", func(*client.Client) {}, "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"},
		{"name beyond ASCII", "bücher.example:443", func(*client.Client) {}, "CONNECT xn--bcher-kva.example:443 HTTP/1.1\r\nHost: xn--bcher-kva.example:443\r\n\r\n"},
		{"user agent", "a:1", func(c *client.Client) { c.UserAgent = "culvert/1" }, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nUser-Agent: culvert/1\r\n\r\n"},
		{"credentials", "a:1", func(c *client.Client) { c.Route.Hops[0].Credentials, c.Auth = secret, client.AuthBasic },
			"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"},
		{"fields", "a:1", func(c *client.Client) {
			c.Header = []client.Field{clienttest.Field("X-A", "1"), clienttest.Field("X-A", "2"), clienttest.Field("X-B", "3")}
		},
			"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nX-A: 1\r\nX-A: 2\r\nX-B: 3\r\n\r\n"},
		{"defaults replaced", "a:1", func(c *client.Client) {
			c.UserAgent, c.Route.Hops[0].Credentials = "culvert/1", secret
			c.Header = []client.Field{clienttest.Field("user-agent", "other"), clienttest.Field("PROXY-AUTHORIZATION", "Bearer x")}
		}, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nuser-agent: other\r\nPROXY-AUTHORIZATION: Bearer x\r\n\r\n"},
		{"default removed", "a:1", func(c *client.Client) {
			c.UserAgent, c.Header = "culvert/1", []client.Field{clienttest.Field("User-Agent", "")}
		}, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Hold)
			c := clienttest.Proxied(t, p.Addr())
			tt.edit(c)
			target, err := tunnel.ParseTarget(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := c.Open(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if got := p.Heads(); len(got) != 1 || got[0] != tt.want {
				t.Errorf("sent %q\nwant %q", got, tt.want)
			}
		})
	}
}

// Control characters, and fields that would change the request itself, are refused
// before anything is sent.
func TestBadRequestIsNotSent(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*client.Client)
	}{
		{"CR LF in a value", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("X", "a\r\nHost: evil")} }},
		{"LF in a value", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("X", "a\nb")} }},
		{"NUL in a value", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("X", "a\x00")} }},
		{"colon in a name", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("X: y", "a")} }},
		{"empty name", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("", "a")} }},
		{"Host", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("host", "other")} }},
		{"Content-Length", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("Content-Length", "0")} }},
		{"Transfer-Encoding", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("transfer-encoding", "chunked")} }},
		{"control character in the user agent", func(c *client.Client) { c.UserAgent = "a\r\nb" }},
		{"control character in the password", func(c *client.Client) { c.Route.Hops[0].Credentials = &tunnel.Credentials{User: "u", Password: "p\n"} }},
		{"colon in the user name", func(c *client.Client) { c.Route.Hops[0].Credentials = &tunnel.Credentials{User: "u:v", Password: "p"} }},
		{"unknown scheme", func(c *client.Client) { c.Route.Hops[0].Scheme = "gopher" }},
		{"unix socket behind another hop", func(c *client.Client) {
			c.Route.Hops = append(c.Route.Hops, tunnel.Hop{Scheme: tunnel.SchemeUnix, Path: "x"})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tunneltest.StartProxy(t, tunneltest.Honest()...)
			c := clienttest.Proxied(t, p.Addr())
			tt.edit(c)
			_, e := clienttest.TryOpen(t, c)
			if e == nil || e.Type != tunnel.ErrorRequest || e.Phase != tunnel.PhaseRequest || e.ExitCode() != tunnel.ExitUsage {
				t.Fatalf("got %v", e)
			}
			p.Close() // waits until the proxy has read all it received
			if got := p.Heads(); len(got) > 0 {
				t.Errorf("sent %q", got)
			}
		})
	}
	if _, err := (&client.Client{}).Open(t.Context(), tunnel.Authority{}); tunnel.ExitCode(err) != tunnel.ExitUsage {
		t.Errorf("no target: %v", err)
	}
}

func TestUnixProxy(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the path of a temporary directory is too long there")
	}
	dir, err := os.MkdirTemp("", "culvert") // the path of t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	target := tunneltest.Start(t, tunneltest.Count)
	path := dir + "/proxy"
	tunneltest.StartProxyOn(t, "unix", path, tunneltest.Honest()...)
	conn, err := clienttest.Proxied(t, "unix:"+path).DialContext(t.Context(), "tcp", target.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "four")
	if err := conn.(*client.Conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	testkit.Expect(t, conn, "4 bytes\n")
}

func TestTwoHops(t *testing.T) {
	target := tunneltest.Start(t, tunneltest.Greet("hello\n"))
	second := tunneltest.StartProxy(t, tunneltest.Honest()...)
	first := tunneltest.StartProxy(t, tunneltest.Honest()...)
	c := clienttest.Proxied(t, "http://one:1@"+first.Addr(), "http://two:2@"+second.Addr())
	c.Auth = client.AuthBasic
	c.Header = []client.Field{clienttest.Field("X-All", "yes")}
	conn, err := c.Open(t.Context(), testkit.MustAuthority(t, target.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	testkit.Expect(t, conn, "hello\n")
	// Each proxy gets its own credentials, and not the other's.
	head := func(target, basic string) string {
		return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\nProxy-Authorization: Basic " + basic + "\r\nX-All: yes\r\n\r\n"
	}
	if got, want := first.Heads(), head(second.Addr(), "b25lOjE="); len(got) != 1 || got[0] != want {
		t.Errorf("first hop got %q, want %q", got, want)
	}
	if got, want := second.Heads(), head(target.Addr(), "dHdvOjI="); len(got) != 1 || got[0] != want {
		t.Errorf("second hop got %q, want %q", got, want)
	}
}

// A Proxy-Authorization field in Header is sent to the first proxy only.
func TestAuthorizationFieldStaysAtFirstHop(t *testing.T) {
	target := tunneltest.Start(t, tunneltest.Echo)
	second := tunneltest.StartProxy(t, tunneltest.Honest()...)
	first := tunneltest.StartProxy(t, tunneltest.Honest()...)
	c := clienttest.Proxied(t, first.Addr(), second.Addr())
	c.Header = []client.Field{clienttest.Field("Proxy-Authorization", "Bearer secret")}
	conn, err := c.Open(t.Context(), testkit.MustAuthority(t, target.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := first.Heads()[0]; !strings.Contains(got, "Bearer secret") {
		t.Errorf("first hop got %q", got)
	}
	if got := second.Heads()[0]; strings.Contains(got, "secret") {
		t.Errorf("second hop got %q", got)
	}
}

// If a proxy of a chain refuses, the error names it, and what it was asked to connect to.
func TestErrorNamesTheHop(t *testing.T) {
	const refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
	second := tunneltest.StartProxy(t, tunneltest.Answer(refusal)...)
	honest := tunneltest.StartProxy(t, tunneltest.Honest()...)
	if _, e := clienttest.TryOpen(t, clienttest.Proxied(t, honest.Addr(), second.Addr())); e == nil || e.Hop != second.Addr() || e.Target.String() != "example.com:22" {
		t.Errorf("second hop: %+v", e)
	}
	first := tunneltest.StartProxy(t, tunneltest.Answer(refusal)...)
	if _, e := clienttest.TryOpen(t, clienttest.Proxied(t, first.Addr(), second.Addr())); e == nil || e.Hop != first.Addr() || e.Target.String() != second.Addr() {
		t.Errorf("first hop: %+v", e)
	}
}

func TestDialContextFitsHTTPTransport(t *testing.T) {
	origin := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")...)
	p := tunneltest.StartProxy(t, tunneltest.Honest()...)
	transport := &http.Transport{DialContext: clienttest.Proxied(t, p.Addr()).DialContext, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: testkit.Patience}
	res, err := client.Get("http://" + origin.Addr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "hello" || err != nil {
		t.Errorf("body %q, %v", body, err)
	}
	if heads := p.Heads(); len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT "+origin.Addr()) {
		t.Errorf("the proxy got %q", heads)
	}
}

func TestDialContextArguments(t *testing.T) {
	target := tunneltest.Start(t, tunneltest.Echo)
	var unknown net.UnknownNetworkError
	for _, tt := range []struct {
		name, network, address string
		ok                     func(net.Conn, error) bool
	}{
		{"tcp", "tcp", target.Addr(), func(c net.Conn, err error) bool { return c != nil && err == nil }},
		{"tcp4", "tcp4", target.Addr(), func(c net.Conn, err error) bool { return c != nil && err == nil }},
		{"other family", "tcp6", target.Addr(), func(c net.Conn, err error) bool { return c == nil && tunnel.ExitCode(err) == tunnel.ExitTarget }},
		{"udp", "udp", target.Addr(), func(c net.Conn, err error) bool { return c == nil && errors.As(err, &unknown) }},
		{"no port", "tcp", "localhost", func(c net.Conn, err error) bool { return c == nil && errors.Is(err, tunnel.ErrNoPort) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := (&client.Client{}).DialContext(t.Context(), tt.network, tt.address)
			if !tt.ok(conn, err) {
				t.Errorf("got %v, %v", conn, err)
			}
			if conn != nil {
				conn.Close()
			}
		})
	}
}

// A Trace sees every step, and the exchange as it was on the wire.
func TestTrace(t *testing.T) {
	p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.SendBytewise("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nVia: 1.1 p\r\n\r\nearly"), tunneltest.Hold)
	c := clienttest.Proxied(t, p.Addr())
	var steps []string
	var x *client.Exchange
	c.Trace = &client.Trace{
		Connecting: func(addr string) { steps = append(steps, "connecting "+addr) },
		Connected:  func(addr string, err error) { steps = append(steps, fmt.Sprint("connected ", addr, err)) },
		Exchanged:  func(e *client.Exchange) { x = e },
	}
	conn, e := clienttest.TryOpen(t, c)
	if e != nil {
		t.Fatal(e)
	}
	testkit.Expect(t, conn, "early")
	if want := []string{"connecting " + p.Addr(), "connected " + p.Addr() + "<nil>"}; strings.Join(steps, "|") != strings.Join(want, "|") {
		t.Errorf("steps %q, want %q", steps, want)
	}
	if got := string(x.Request); got != p.Heads()[0] {
		t.Errorf("request %q", got)
	}
	if got := string(x.Reply); got != "HTTP/1.1 200 OK\r\nVia: 1.1 p\r\n\r\n" {
		t.Errorf("reply %q", got)
	}
	if len(x.Interim) != 1 || string(x.Interim[0]) != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Errorf("interim %q", x.Interim)
	}
	if x.Err != nil || x.Started.After(x.Sent) || x.Sent.After(x.FirstIn) || x.FirstIn.After(x.Complete) {
		t.Errorf("err %v, times %v %v %v %v", x.Err, x.Started, x.Sent, x.FirstIn, x.Complete)
	}
}
