package client_test

import (
	"bufio"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/internal/wire"
)

// logInAt returns the login at the proxy; nil = there is none. The user is the part of the
// proxy's URL before the host.
func logInAt(t *testing.T, p *testkit.LoginProxy, user string, edit func(*client.Client)) *proxyLogin {
	t.Helper()
	c := clienttest.Proxied(t, "http://"+user+p.Addr())
	if edit != nil {
		edit(c)
	}
	l, _ := c.ProxyLogin(t.Context(), testkit.MustAuthority(t, "a.example:22"))
	if l == nil {
		return nil
	}
	return &proxyLogin{l, c}
}

// proxyLogin is a ProxyLogin with its Client.
type proxyLogin struct {
	*client.ProxyLogin
	client *client.Client
}

// ProxyLogin finds the scheme that the proxy accepts, and does not send the credentials by
// a scheme that the proxy did not offer.
func TestProxyLoginSchemes(t *testing.T) {
	const mufasa = "Mufasa:Circle%20of%20Life@"
	for _, tt := range []struct{ name, user, auth, offers, takes, shown, scheme string }{
		{"nothing to show", "", "", "Basic realm=r", "Basic", "", ""},
		{"nothing wanted", mufasa, "", "", "", "", ""},
		{"basic", mufasa, "", "Basic realm=r", "Basic", ",Basic", client.AuthBasic},
		{"basic first", mufasa, client.AuthBasic, "Basic realm=r", "Basic", "Basic", client.AuthBasic},
		{"bearer", mufasa, client.AuthBearer, "Bearer", "Bearer", "Bearer", client.AuthBearer},
		{"digest", mufasa, "", `Basic realm=r, Digest realm="r", nonce="n", qop="auth"`, "Digest", ",Digest", client.AuthDigest},
		{"digest alone", mufasa, "", `Digest realm="r", nonce="n", qop="auth"`, "nothing", ",Digest,", ""},
		{"what is left", mufasa, "", `Basic realm=r, Digest realm="r", nonce="n", qop="auth"`, "Basic", ",Digest,Basic", client.AuthBasic},
		{"none that is known", mufasa, "", "Odd", "Odd", "", ""},
		{"none named", mufasa, "", "-", "Basic", "", client.AuthBasic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
				switch {
				case tt.offers == "", value != "" && strings.HasPrefix(value, tt.takes):
					return testkit.TunnelOpen, true
				case tt.offers == "-":
					return testkit.Reply407(), true
				}
				return testkit.Reply407(strings.Split(tt.offers, ", Digest")[0], "Digest"+strings.Join(strings.Split(tt.offers, "Digest")[1:], "")), true
			})
			got := ""
			if l := logInAt(t, p, tt.user, func(c *client.Client) { c.Auth = tt.auth }); l != nil {
				got = l.Scheme()
				if l.Bound() {
					t.Error("the login is for a connection")
				}
			}
			if shown := strings.TrimRight(p.Schemes(), ","); got != tt.scheme || shown != strings.TrimRight(tt.shown, ",") {
				t.Errorf("the scheme is %q after %q, want %q after %q", got, shown, tt.scheme, tt.shown)
			}
		})
	}
}

// A Digest is computed for the request that holds it, and its nonce is replaced before the
// proxy may declare it stale.
func TestProxyLoginDigest(t *testing.T) {
	nonces := 0
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if strings.HasPrefix(value, "Digest") {
			return testkit.TunnelOpen, true
		}
		nonces++
		return testkit.Reply407(fmt.Sprintf(`Digest realm="r", nonce="n%d", qop="auth"`, nonces)), true
	})
	l := logInAt(t, p, "Mufasa:secret@", nil)
	if l == nil || l.Scheme() != client.AuthDigest {
		t.Fatalf("the login is %+v", l)
	}
	sum := func(s string) string { b := md5.Sum([]byte(s)); return hex.EncodeToString(b[:]) }
	uses := map[string]int{"n1": 1} // for the tunnel
	for i := range 3 * client.NonceUses {
		value, err := l.Value(t.Context(), http.MethodGet, "http://b.example/x")
		if err != nil {
			t.Fatal(err)
		}
		f := testkit.Parameters(value)
		uses[f["nonce"]]++
		if want := fmt.Sprintf("%08x", uses[f["nonce"]]); f["nc"] != want || uses[f["nonce"]] > client.NonceUses {
			t.Fatalf("value %d has nc %s of %s, want %s", i, f["nc"], f["nonce"], want)
		}
		want := sum(strings.Join([]string{sum("Mufasa:r:secret"), f["nonce"], f["nc"], f["cnonce"], "auth", sum("GET:http://b.example/x")}, ":"))
		if f["uri"] != "http://b.example/x" || f["response"] != want {
			t.Fatalf("value %d is %s, want the response %s", i, value, want)
		}
		if got := string(l.client.Mask([]byte("it said " + value))); strings.Contains(got, want) {
			t.Errorf("masked, the value is %s", got)
		}
	}
	if len(uses) < 3 {
		t.Errorf("%d nonces were used", len(uses))
	}
	p.Close()
	for range client.NonceUses + 1 {
		if _, err := l.Value(t.Context(), http.MethodGet, "http://b.example/x"); err != nil {
			return
		}
	}
	t.Error("a proxy that is gone still gives nonces")
}

// With Negotiate each request has its own token.
func TestProxyLoginNegotiate(t *testing.T) {
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if strings.HasPrefix(value, "Negotiate") {
			return testkit.TunnelOpen, true
		}
		return testkit.Reply407("Negotiate"), true
	})
	tickets := &fakeTickets{}
	l := logInAt(t, p, "", func(c *client.Client) { c.Negotiate = tickets.negotiator })
	if l == nil || l.Scheme() != client.AuthNegotiate || l.Bound() {
		t.Fatalf("the login is %+v", l)
	}
	for _, want := range []string{"token 2", "token 3"} {
		value, err := l.Value(t.Context(), http.MethodConnect, "b.example:1")
		if err != nil || value != "Negotiate "+base64.StdEncoding.EncodeToString([]byte(want)) {
			t.Errorf("the value is %q, %v, want %s", value, err, want)
		}
	}
}

// NTLM's first two messages are exchanged on a connection before its first request.
func TestProxyLoginNTLM(t *testing.T) {
	ends := false
	p := testkit.StartLoginProxy(t, func(_, request int, value string) (string, bool) {
		message, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, "NTLM "))
		switch {
		case len(message) > 8 && message[8] == 3 && request > 1:
			return testkit.TunnelOpen, true
		case len(message) > 8 && message[8] == 1 && ends:
			return testkit.Reply407("NTLM " + testkit.NTLMChallenge() + "\r\nConnection: close"), false
		case len(message) > 8 && message[8] == 1:
			return testkit.Reply407("NTLM " + testkit.NTLMChallenge()), true
		}
		return testkit.Reply407("NTLM"), true
	})
	l := logInAt(t, p, "CORP%5CMufasa:Circle@", nil)
	if l == nil || l.Scheme() != client.AuthNTLM || !l.Bound() {
		t.Fatalf("the login is %+v", l)
	}
	for range 2 { // each connection has its own login
		conn, err := l.client.OpenProxy(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		br := bufio.NewReader(conn)
		value, err := l.Begin(t.Context(), conn, br)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "CONNECT b.example:1 HTTP/1.1\r\nHost: b.example:1\r\nProxy-Authorization: %s\r\n\r\nhello", value)
		if reply, err := wire.ReadReply(br, 0); err != nil || reply.Code != 200 {
			t.Fatalf("the reply is %+v, %v", reply, err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(br, got); err != nil || string(got) != "hello" {
			t.Errorf("the tunnel brings %q, %v", got, err)
		}
	}
	ends = true
	conn, err := l.client.OpenProxy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if value, err := l.Begin(t.Context(), conn, bufio.NewReader(conn)); err == nil {
		t.Errorf("over a connection that ends, the login is %q", value)
	}
}

// The Client does not wait for ever for a proxy that stops answering after it received the
// credentials.
func TestProxyLoginDeadline(t *testing.T) {
	over := make(chan struct{})
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if value != "" {
			<-over
		}
		return testkit.Reply407(`Digest realm="r", nonce="n", qop="auth"`), true
	})
	t.Cleanup(func() { close(over) })
	c := clienttest.Proxied(t, "http://Mufasa:secret@"+p.Addr())
	c.Timeout = 50 * time.Millisecond
	l, err := c.ProxyLogin(t.Context(), testkit.MustAuthority(t, "a.example:22"))
	if l == nil || l.Scheme() != client.AuthDigest || tunnel.ExitCode(err) != tunnel.ExitDeadline {
		t.Errorf("the login is %+v, %v", l, err)
	}
}
