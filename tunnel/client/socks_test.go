package client_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// The messages are those of RFC 1928, RFC 1929 and SOCKS 4a. The bytes after the answer are
// the target's.
func TestSOCKSExchange(t *testing.T) {
	const (
		none   = "05 01 00 > 05 00 ;"
		name   = "05 01 00 03 09 612e6578616d706c65 0016 >" // a.example:22
		done   = "05 00 00 01 00000000 0000"
		mellow = "6869" // the target's first bytes, glued
	)
	for _, tt := range []struct{ name, url, target, script string }{
		{"name", "socks5h://", "a.example:22", none + name + done + mellow},
		{"IPv4", "socks5h://", "192.0.2.1:22", none + "05 01 00 01 c0000201 0016 >" + done + mellow},
		{"IPv6", "socks5://", "[2001:db8::1]:22", none + "05 01 00 04 20010db8000000000000000000000001 0016 >" + done + mellow},
		{"resolved here", "socks5://", "b.example:22", none + "05 01 00 01 c0000209 0016 >" + done + mellow},
		{"answer with a name", "socks5h://", "a.example:22", none + name + "05 00 00 03 03 616263 0016" + mellow},
		{"answer with IPv6", "socks5h://", "a.example:22", none + name + "05 00 00 04 00000000000000000000000000000000 0016" + mellow},
		{"password", "socks5h://me:pw@", "a.example:22", "05 02 00 02 > 05 02 ; 01 02 6d65 02 7077 > 01 00 ;" + name + done + mellow},
		{"password not wanted", "socks5h://me:pw@", "a.example:22", "05 02 00 02 > 05 00 ;" + name + done + mellow},
		{"4a, name", "socks4a://", "a.example:22", "04 01 0016 00000001 00 612e6578616d706c65 00 > 00 5a 0000 00000000" + mellow},
		{"4a, address and user", "socks4a://me@", "192.0.2.1:22", "04 01 0016 c0000201 6d65 00 > 00 5a 0000 00000000" + mellow},
	} {
		for _, unread := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				p := testkit.SOCKSProxy(t, tt.script)
				c := clienttest.Proxied(t, tt.url+p.Addr())
				c.KeepUnread, c.Resolver = unread, testkit.ResolveTo("192.0.2.9")
				conn, err := c.Open(t.Context(), testkit.MustAuthority(t, tt.target))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				testkit.Expect(t, conn, "hi")
				io.WriteString(conn, "echo")
				testkit.Expect(t, conn, "echo")
			})
		}
	}
}

// SOCKS hops may be anywhere in a chain.
func TestSOCKSInAChain(t *testing.T) {
	last := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(tunneltest.Echo))
	_, port, _ := net.SplitHostPort(last.Addr())
	socks := tunneltest.Start(t, func(conn net.Conn) {
		got := make([]byte, 3+10)
		io.ReadFull(conn, got[:3])
		conn.Write([]byte{5, 0})
		io.ReadFull(conn, got[3:])
		conn.Write(testkit.Unhex("05 00 00 01 00000000 0000"))
		target, err := net.Dial("tcp", net.JoinHostPort(net.IP(got[7:11]).String(), port))
		if err != nil {
			t.Error(err)
			return
		}
		defer target.Close()
		go func() {
			io.Copy(target, conn)
			tunneltest.CloseWrite(target)
		}()
		io.Copy(conn, target)
	})
	first := tunneltest.StartProxy(t, tunneltest.Honest()...)
	conn, err := clienttest.Proxied(t, "http://"+first.Addr(), "socks5h://"+socks.Addr(), "http://"+last.Addr()).Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "through three")
	testkit.Expect(t, conn, "through three")
	if got := last.Heads(); len(got) != 1 || !strings.HasPrefix(got[0], "CONNECT a.example:22 ") {
		t.Errorf("the last hop got %q", got)
	}
}

// Every refusal has a sentence, a hint and an exit code.
func TestSOCKSRefusals(t *testing.T) {
	const asked = "05 01 00 > 05 00 ; 05 01 00 03 09 612e6578616d706c65 0016 >"
	for _, tt := range []struct {
		name, url, script string
		code              int
		sentence          string
	}{
		{"rules", "socks5h://", asked + "05 02 00 01 00000000 0000!", 6, "proxy P refused a.example:22: not allowed by its rules"},
		{"refused", "socks5h://", asked + "05 05 00 01!", 7, "proxy P could not reach a.example:22: connection refused"},
		{"general", "socks5h://", asked + "05 01 00 01!", 7, "proxy P could not reach a.example:22: general failure"},
		{"address kind", "socks5h://", asked + "05 08 00 01!", 8, "proxy P cannot open a.example:22: it does not take this kind of address"},
		{"unknown code", "socks5h://", asked + "05 63 00 01!", 7, "proxy P could not reach a.example:22: code 99"},
		{"unknown address", "socks5h://", asked + "05 00 00 07!", 8, "proxy P sent a malformed answer: its answer has an address of the unknown kind 7"},
		{"no method", "socks5h://", "05 01 00 > 05 ff!", 5, "proxy P wants credentials for a.example:22: it takes no client without a login"},
		{"no method for a password", "socks5h://me:pw@", "05 02 00 02 > 05 ff!", 5, "proxy P wants credentials for a.example:22: of another kind than a user name and a password"},
		{"4a with version 5", "socks4a://", "04 01 0016 00000001 00 612e6578616d706c65 00 > 05 ff!", 8, `proxy P is not a SOCKS proxy: it does not speak socks4a: it begins with "\x05\xff"`},
		{"a method of its own", "socks5h://", "05 01 00 > 05 07!", 8, "proxy P sent a malformed answer: it chose the login method 7, which was not offered"},
		{"wrong password", "socks5h://me:pw@", "05 02 00 02 > 05 02 ; 01 02 6d65 02 7077 > 01 01!", 5, "proxy P refused the credentials for a.example:22: the login failed with code 1"},
		{"HTTP", "socks5h://", "05 01 00 > 485454502f312e31!", 8, `proxy P is not a SOCKS proxy: it does not speak socks5h: it begins with "HT"`},
		{"closes at once", "socks5h://", "05 01 00 >!", 8, "proxy P closed the connection without an answer"},
		{"cut short", "socks5h://", asked + "05 00!", 8, "proxy P closed the connection within its answer's head"},
		{"4a", "socks4a://", "04 01 0016 00000001 00 612e6578616d706c65 00 > 00 5b 0000 00000000!", 7, "proxy P could not reach a.example:22: rejected or failed"},
		{"4a identd", "socks4a://me@", "04 01 0016 00000001 6d65 00 612e6578616d706c65 00 > 00 5d 0000 00000000!", 5, "proxy P refused the credentials for a.example:22: the user's name is not the one this machine gives"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testkit.SOCKSProxy(t, tt.script)
			_, err := clienttest.Proxied(t, tt.url+p.Addr()).Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
			sentence, hint := explain.Error(err)
			if want := strings.ReplaceAll(tt.sentence, "P ", p.Addr()+" "); sentence != want || hint == "" {
				t.Errorf("said: %q\nwant: %q\nhint: %q", sentence, want, hint)
			}
			if got := tunnel.ExitCode(err); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
		})
	}
}

// What SOCKS cannot express is refused before anything is sent.
func TestSOCKSCannotSay(t *testing.T) {
	for name, tt := range map[string]struct{ url, target, want string }{
		"IPv6 in version 4": {"socks4a://192.0.2.1", "[2001:db8::1]:22", "knows no IPv6"},
		"no password":       {"socks5h://me@192.0.2.1", "a.example:22", "needs a password"},
		"a long one":        {"socks5h://me:" + strings.Repeat("x", 256) + "@192.0.2.1", "a.example:22", "longer than SOCKS can say"},
	} {
		_, err := clienttest.Proxied(t, tt.url).Open(t.Context(), testkit.MustAuthority(t, tt.target))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A name that only the proxy can resolve.
	c := clienttest.Proxied(t, "socks5://"+testkit.SOCKSProxy(t, "!").Addr())
	c.Resolver = testkit.FailingResolver{Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
	_, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
	clienttest.WantExplained(t, err, "a.example:22 cannot be resolved: not by this machine; with socks5h:// the proxy does it",
		"check the name; if only a proxy can resolve it, name that with --proxy")
	if tunnel.ExitCode(err) != tunnel.ExitTarget {
		t.Errorf("exit code %d", tunnel.ExitCode(err))
	}
}

// Trace.SOCKSExchanged has every message and its answer, and no password.
func TestSOCKSIsTraced(t *testing.T) {
	p := testkit.SOCKSProxy(t, "05 02 00 02 > 05 02 ; 01 02 6d65 02 7077 > 01 00 ; 05 01 00 03 09 612e6578616d706c65 0016 > 05 02 00 01 00000000 0000!")
	c := clienttest.Proxied(t, "socks5h://me:pw@"+p.Addr())
	var log strings.Builder
	c.Trace = &client.Trace{SOCKSExchanged: func(m *client.SOCKSMessage) { fmt.Fprintf(&log, "%s %q > %q\n", m.Hop, m.Sent, m.Received) }}
	c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
	want := strings.ReplaceAll(`P "\x05\x02\x00\x02" > "\x05\x02"
P "\x01\x02me***" > "\x01\x00"
P "\x05\x01\x00\x03\ta.example\x00\x16" > "\x05\x02\x00\x01"
`, "P", "socks5h://"+p.Addr())
	if log.String() != want {
		t.Errorf("told\n%swant\n%s", &log, want)
	}
}
