package tunnel

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

	"culvert/tunnel/internal/wire"
)

// logInAt is the login at the proxy as Mufasa.
func logInAt(t *testing.T, p *loginProxy, user string, edit func(*Client)) *proxyLogin {
	t.Helper()
	c := proxied(t, "http://"+user+p.Addr())
	if edit != nil {
		edit(c)
	}
	l, _ := c.ProxyLogin(t.Context(), mustAuthority(t, "a.example:22"))
	if l == nil {
		return nil
	}
	return &proxyLogin{l, c}
}

// proxyLogin is a ProxyLogin and the Client that it is of.
type proxyLogin struct {
	*ProxyLogin
	client *Client
}

// How the proxy takes the credentials is found out without showing them by a
// scheme that it does not want.
func TestProxyLoginSchemes(t *testing.T) {
	const mufasa = "Mufasa:Circle%20of%20Life@"
	for _, tt := range []struct{ name, user, auth, offers, takes, shown, scheme string }{
		{"nothing to show", "", "", "Basic realm=r", "Basic", "", ""},
		{"nothing wanted", mufasa, "", "", "", "", ""},
		{"basic", mufasa, "", "Basic realm=r", "Basic", ",Basic", AuthBasic},
		{"basic first", mufasa, AuthBasic, "Basic realm=r", "Basic", "Basic", AuthBasic},
		{"bearer", mufasa, AuthBearer, "Bearer", "Bearer", "Bearer", AuthBearer},
		{"digest", mufasa, "", `Basic realm=r, Digest realm="r", nonce="n", qop="auth"`, "Digest", ",Digest", AuthDigest},
		{"digest alone", mufasa, "", `Digest realm="r", nonce="n", qop="auth"`, "nothing", ",Digest,", ""},
		{"what is left", mufasa, "", `Basic realm=r, Digest realm="r", nonce="n", qop="auth"`, "Basic", ",Digest,Basic", AuthBasic},
		{"none that is known", mufasa, "", "Odd", "Odd", "", ""},
		{"none named", mufasa, "", "-", "Basic", "", AuthBasic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := startLoginProxy(t, func(_, _ int, value string) (string, bool) {
				switch {
				case tt.offers == "", value != "" && strings.HasPrefix(value, tt.takes):
					return tunnelOpen, true
				case tt.offers == "-":
					return wanted(), true
				}
				return wanted(strings.Split(tt.offers, ", Digest")[0], "Digest"+strings.Join(strings.Split(tt.offers, "Digest")[1:], "")), true
			})
			got := ""
			if l := logInAt(t, p, tt.user, func(c *Client) { c.Auth = tt.auth }); l != nil {
				got = l.Scheme()
				if l.Bound() {
					t.Error("the login is for a connection")
				}
			}
			if shown := strings.TrimRight(p.schemes(), ","); got != tt.scheme || shown != strings.TrimRight(tt.shown, ",") {
				t.Errorf("the scheme is %q after %q, want %q after %q", got, shown, tt.scheme, tt.shown)
			}
		})
	}
}

// A Digest is summed up for the request that it goes with, and its nonce replaced
// before the proxy gives it up.
func TestProxyLoginDigest(t *testing.T) {
	nonces := 0
	p := startLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if strings.HasPrefix(value, "Digest") {
			return tunnelOpen, true
		}
		nonces++
		return wanted(fmt.Sprintf(`Digest realm="r", nonce="n%d", qop="auth"`, nonces)), true
	})
	l := logInAt(t, p, "Mufasa:secret@", nil)
	if l == nil || l.Scheme() != AuthDigest {
		t.Fatalf("the login is %+v", l)
	}
	sum := func(s string) string { b := md5.Sum([]byte(s)); return hex.EncodeToString(b[:]) }
	uses := map[string]int{"n1": 1} // by the tunnel
	for i := range 3 * nonceUses {
		value, err := l.Value(t.Context(), http.MethodGet, "http://b.example/x")
		if err != nil {
			t.Fatal(err)
		}
		f := parameters(value)
		uses[f["nonce"]]++
		if want := fmt.Sprintf("%08x", uses[f["nonce"]]); f["nc"] != want || uses[f["nonce"]] > nonceUses {
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
	for range nonceUses + 1 {
		if _, err := l.Value(t.Context(), http.MethodGet, "http://b.example/x"); err != nil {
			return
		}
	}
	t.Error("a proxy that is gone still gives nonces")
}

// Negotiate has a token for each request.
func TestProxyLoginNegotiate(t *testing.T) {
	p := startLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if strings.HasPrefix(value, "Negotiate") {
			return tunnelOpen, true
		}
		return wanted("Negotiate"), true
	})
	tickets := &fakeTickets{}
	l := logInAt(t, p, "", func(c *Client) { c.Negotiate = tickets.negotiator })
	if l == nil || l.Scheme() != AuthNegotiate || l.Bound() {
		t.Fatalf("the login is %+v", l)
	}
	for _, want := range []string{"token 2", "token 3"} {
		value, err := l.Value(t.Context(), http.MethodConnect, "b.example:1")
		if err != nil || value != "Negotiate "+base64.StdEncoding.EncodeToString([]byte(want)) {
			t.Errorf("the value is %q, %v, want %s", value, err, want)
		}
	}
}

// NTLM's first two messages go over the connection before its first request.
func TestProxyLoginNTLM(t *testing.T) {
	ends := false
	p := startLoginProxy(t, func(_, request int, value string) (string, bool) {
		message, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, "NTLM "))
		switch {
		case len(message) > 8 && message[8] == 3 && request > 1:
			return tunnelOpen, true
		case len(message) > 8 && message[8] == 1 && ends:
			return wanted("NTLM " + ntlmChallenge() + "\r\nConnection: close"), false
		case len(message) > 8 && message[8] == 1:
			return wanted("NTLM " + ntlmChallenge()), true
		}
		return wanted("NTLM"), true
	})
	l := logInAt(t, p, "CORP%5CMufasa:Circle@", nil)
	if l == nil || l.Scheme() != AuthNTLM || !l.Bound() {
		t.Fatalf("the login is %+v", l)
	}
	for range 2 { // each connection has its own
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

// A proxy that says nothing more once it was shown the credentials is not waited
// for without end.
func TestProxyLoginDeadline(t *testing.T) {
	over := make(chan struct{})
	p := startLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if value != "" {
			<-over
		}
		return wanted(`Digest realm="r", nonce="n", qop="auth"`), true
	})
	t.Cleanup(func() { close(over) })
	c := proxied(t, "http://Mufasa:secret@"+p.Addr())
	c.Timeout = 50 * time.Millisecond
	l, err := c.ProxyLogin(t.Context(), mustAuthority(t, "a.example:22"))
	if l == nil || l.Scheme() != AuthDigest || ExitCode(err) != ExitDeadline {
		t.Errorf("the login is %+v, %v", l, err)
	}
}
