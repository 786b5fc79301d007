package client_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// hostileBytes bounds the memory that a Client may allocate while it opens a tunnel through
// a proxy that never stops sending.
const hostileBytes = 8 << 20

// A proxy that asks for credentials may lie, repeat itself, contradict itself and send too
// much. The Client gives up after a bounded number of rounds and connections, in bounded
// memory, and returns the right error.
func TestHostileLogins(t *testing.T) {
	const no = "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: "
	digest := func(n int) string { return fmt.Sprintf(`Digest realm="r", nonce="%d", qop="auth"`, n) }
	for _, tt := range []struct {
		name     string
		exit     int
		requests int // at most
		reply    func(conn, request int, value string) (reply string, keep bool)
	}{
		{"asks for ever, and stays", tunnel.ExitCredentials, client.MaxLoginRounds + 1, func(_, _ int, _ string) (string, bool) {
			return no + "Basic\r\n\r\n", true
		}},
		{"asks for ever, and closes", tunnel.ExitCredentials, client.MaxLoginRounds + 1, func(_, _ int, _ string) (string, bool) {
			return no + "Basic\r\nConnection: close\r\n\r\n", false
		}},
		{"asks for ever by a nonce that is stale", tunnel.ExitCredentials, client.MaxLoginRounds + 1, func(conn, request int, _ string) (string, bool) {
			return no + digest(100*conn+request) + ", stale=true\r\n\r\n", request%2 == 0
		}},
		{"asks for NTLM for ever", tunnel.ExitCredentials, client.MaxLoginRounds + 1, func(_, _ int, value string) (string, bool) {
			if value == "" {
				return no + "NTLM\r\n\r\n", true
			}
			return no + "NTLM " + testkit.NTLMChallenge() + "\r\n\r\n", true
		}},
		{"another scheme each time", tunnel.ExitCredentials, client.MaxLoginRounds + 1, func(conn, request int, _ string) (string, bool) {
			offer := []string{"Negotiate", "Basic", digest(request), "NTLM", "Hawk", "Bearer"}
			return no + offer[(conn+request)%len(offer)] + "\r\n\r\n", true
		}},
		{"changes its mind: 407, then 403", tunnel.ExitRefused, 2, func(_, _ int, value string) (string, bool) {
			if value == "" {
				return no + "Basic\r\n\r\n", true
			}
			return "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", true
		}},
		{"changes its mind: 407, then no HTTP", tunnel.ExitNotAProxy, 2, func(_, _ int, value string) (string, bool) {
			if value == "" {
				return no + "Basic\r\n\r\n", true
			}
			return "\x00\x01\x02", false
		}},
		{"changes its mind: 407, then silence", tunnel.ExitDeadline, 3, func(_, _ int, value string) (string, bool) {
			if value == "" {
				return no + "Basic\r\n\r\n", true
			}
			return "", true
		}},
		{"407, then a redirect", tunnel.ExitRefused, 2, func(_, _ int, value string) (string, bool) {
			if value == "" {
				return no + "Basic\r\n\r\n", true
			}
			return "HTTP/1.1 307 Elsewhere\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n", true
		}},
		{"challenge of a megabyte", tunnel.ExitNotAProxy, 1, func(int, int, string) (string, bool) {
			return no + `Digest realm="` + strings.Repeat("a", 1<<20) + "\"\r\n\r\n", true
		}},
		{"a megabyte of challenges", tunnel.ExitNotAProxy, 1, func(int, int, string) (string, bool) {
			return no + "Basic\r\n" + strings.Repeat("Proxy-Authenticate: Basic\r\n", 40000) + "\r\n", true
		}},
		{"a head full of challenges", tunnel.ExitCredentials, client.MaxLoginRounds + 1, func(int, int, string) (string, bool) {
			return no + strings.Repeat(`Digest realm="x", nonce="y", algorithm=Z, `, 1400) + "X\r\n\r\n", true
		}},
		{"NTLM challenge of 40 KiB", tunnel.ExitCredentials, 4, func(_, _ int, value string) (string, bool) {
			if value == "" {
				return no + "NTLM\r\n\r\n", true
			}
			return no + "NTLM " + strings.Repeat("TlRM", 10<<10) + "\r\n\r\n", true
		}},
		{"1xx between the rounds", tunnel.ExitCredentials, client.MaxLoginRounds + 1, func(int, int, string) (string, bool) {
			return strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10) + no + "Basic\r\n\r\n", true
		}},
		{"1xx for ever, behind a 407", tunnel.ExitNotAProxy, 2, func(_, _ int, value string) (string, bool) {
			if value == "" {
				return no + "Basic\r\n\r\n", true
			}
			return strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000), true
		}},
		{"a 407's content without end", tunnel.ExitCredentials, client.MaxLoginRounds + 1, func(int, int, string) (string, bool) {
			return strings.Replace(no, "Content-Length: 0", "Transfer-Encoding: chunked", 1) + "Basic\r\n\r\n" + strings.Repeat("400\r\n"+strings.Repeat("a", 1024)+"\r\n", 1024), false
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testkit.StartLoginProxy(t, tt.reply)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := logIn(t, p, func(c *client.Client) {
				if c.Timeout = testkit.Patience; tt.exit == tunnel.ExitDeadline {
					c.Timeout = 10 * testkit.BriefWait
				}
			})
			runtime.ReadMemStats(&after)
			values, conns := p.Values()
			if tunnel.ExitCode(err) != tt.exit || len(values) > tt.requests || conns > tt.requests {
				t.Errorf("exit %d (%v) after %d requests over %d connections; want exit %d, at most %d", tunnel.ExitCode(err), err, len(values), conns, tt.exit, tt.requests)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > hostileBytes {
				t.Errorf("%d bytes were allocated", used)
			}
			if sentence, hint := explain.Error(err); sentence == "" || len(sentence)+len(hint) > 1000 || strings.ContainsFunc(sentence+hint, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q, %q", sentence, hint)
			}
		})
	}
}

// A reply that a proxy sends right after its 407 answers no request. The next round uses
// another connection.
func TestAnswerBehindA407IsNotBelieved(t *testing.T) {
	p := testkit.StartLoginProxy(t, func(conn, _ int, value string) (string, bool) {
		if value == "" {
			return "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: Basic\r\n\r\n" + testkit.TunnelOpen + "not yours", true
		}
		return testkit.TunnelOpen, true
	})
	if err := logIn(t, p, nil); err != nil {
		t.Error(err)
	}
	if values, conns := p.Values(); conns != 2 || len(values) != 2 {
		t.Errorf("%d requests over %d connections", len(values), conns)
	}
}

// A proxy may answer before it has received the request. The answer counts, and no byte of
// the tunnel is lost.
func TestAnswerBeforeTheRequest(t *testing.T) {
	proxy := tunneltest.StartProxy(t, tunneltest.Send(testkit.TunnelOpen+"hello"), tunneltest.ReadHead, tunneltest.Serve(tunneltest.Echo))
	conn, e := clienttest.TryOpen(t, clienttest.Proxied(t, proxy.Addr()))
	if e != nil {
		t.Fatal(e)
	}
	testkit.Expect(t, conn, "hello")
	io.WriteString(conn, "back")
	testkit.Expect(t, conn, "back")
}

// For any answer of a proxy, its credentials are sent to no other proxy, and not to the
// target.
func TestCredentialsGoNowhereElse(t *testing.T) {
	asks := func(int, int, string) (string, bool) { return testkit.Reply407("Basic realm=x", "NTLM"), true }
	t.Run("where a redirect leads", func(t *testing.T) {
		elsewhere := testkit.StartLoginProxy(t, asks)
		p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
			return "HTTP/1.1 302 Found\r\nLocation: http://" + elsewhere.Addr() + "/\r\nContent-Length: 0\r\n\r\n", false
		})
		if err := logIn(t, p, func(c *client.Client) { c.Auth = client.AuthBasic }); tunnel.ExitCode(err) != tunnel.ExitRefused {
			t.Errorf("%v", err)
		}
		if values, conns := elsewhere.Values(); conns > 0 {
			t.Errorf("it got %q", values)
		}
	})
	t.Run("the next hop, which asks too", func(t *testing.T) {
		second, first := testkit.StartLoginProxy(t, asks), tunneltest.StartProxy(t, tunneltest.Honest()...)
		c := clienttest.Proxied(t, "http://one:secret@"+first.Addr(), second.Addr())
		c.Auth = client.AuthBasic
		wantUnshown(t, c, second)
	})
	t.Run("the hop before, which asks too", func(t *testing.T) {
		first, second := testkit.StartLoginProxy(t, asks), testkit.StartLoginProxy(t, asks)
		c := clienttest.Proxied(t, first.Addr(), "http://two:secret@"+second.Addr())
		wantUnshown(t, c, first)
	})
	t.Run("the alternative, which asks too", func(t *testing.T) {
		second := testkit.StartLoginProxy(t, asks)
		c := clienttest.Proxied(t, "http://one:secret@"+tunneltest.Unused(t))
		c.Or = []tunnel.Route{clienttest.Proxied(t, second.Addr()).Route}
		wantUnshown(t, c, second)
	})
	t.Run("the target, behind a tunnel", func(t *testing.T) {
		heard := make(chan string, 1)
		target := tunneltest.Start(t, func(conn net.Conn) {
			tunneltest.CloseWrite(conn)
			all, _ := io.ReadAll(conn)
			heard <- string(all)
		})
		proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
		conn, err := clienttest.Proxied(t, "http://one:secret@"+proxy.Addr()).Open(t.Context(), testkit.MustAuthority(t, target.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if all := <-heard; all != "" {
			t.Errorf("it got %q", all)
		}
	})
}

// wantUnshown fails the test unless the tunnel cannot be opened, because the asking proxy
// wants credentials that the Client does not have, and that proxy received no others.
func wantUnshown(t *testing.T, c *client.Client, asking *testkit.LoginProxy) {
	t.Helper()
	c.Timeout = testkit.Patience
	_, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
	values, conns := asking.Values()
	if tunnel.ExitCode(err) != tunnel.ExitCredentials || conns == 0 || strings.Join(values, "") != "" {
		t.Errorf("%v; it got %q over %d connections", err, values, conns)
	}
}

// The deadline of the opening holds for a proxy that sends one byte at a time for ever, in
// any number of rounds.
func TestHostileDrip(t *testing.T) {
	for _, reply := range []string{
		"HTTP/1.1 200 OK\r\nX: ",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 100000\r\n\r\n",
		"HTTP/1.1 403 No\r\n\r\n",
	} {
		stop := make(chan struct{})
		proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply), func(turn *tunneltest.Turn) bool {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return false
				case <-tick.C:
					if _, err := io.WriteString(turn.Conn, "a"); err != nil {
						return false
					}
				}
			}
		})
		c := clienttest.Proxied(t, "http://a:b@"+proxy.Addr())
		c.Timeout = 2 * testkit.BriefWait
		start := time.Now()
		if _, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22")); err == nil || time.Since(start) > testkit.Patience/2 {
			t.Errorf("%q: %v after %v", reply, err, time.Since(start))
		}
		close(stop)
	}
}
