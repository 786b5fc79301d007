package client_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// logIn opens a tunnel through the proxy as the user Mufasa, and closes it.
func logIn(t *testing.T, p *testkit.LoginProxy, edit func(*client.Client)) error {
	t.Helper()
	c := clienttest.Proxied(t, "http://Mufasa:Circle%20of%20Life@"+p.Addr())
	if edit != nil {
		edit(c)
	}
	conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	testkit.Expect(t, conn, "hello")
	return nil
}

// The strongest scheme that a proxy offers is tried first, and the next one if it is
// refused, on connections that close and on those that stay open.
func TestLoginOrderOfSchemes(t *testing.T) {
	digest := func(algorithm string) string {
		return `Digest realm="r", nonce="n", qop="auth", algorithm=` + algorithm
	}
	for _, tt := range []struct {
		name, auth string
		challenges []string
		takes      string // the scheme that opens the tunnel; "" = none
		want       string
	}{
		{"Basic alone", "", []string{"Basic realm=r"}, "Basic", ",Basic"},
		{"unasked", client.AuthBasic, []string{"Basic realm=r"}, "Basic", "Basic"},
		{"token unasked", client.AuthBearer, []string{"Bearer"}, "Bearer", "Bearer"},
		{"strongest first, whatever the order", "", []string{"Basic realm=r", digest("MD5")}, "Digest", ",Digest"},
		{"in one field", "", []string{"Negotiate, Basic realm=\"a, b\", " + digest("SHA-256")}, "Digest", ",Digest"},
		{"fall through", "", []string{"Basic realm=r", digest("MD5")}, "Basic", ",Digest,Basic"},
		{"unknown algorithm", "", []string{digest("SHA-9000"), "Basic realm=r"}, "Basic", ",Basic"},
		{"NTLM refused at once", "", []string{"NTLM", "Basic realm=r"}, "Basic", ",NTLM,Basic"},
		{"only one allowed", client.AuthDigest, []string{"Basic realm=r", digest("MD5")}, "Basic", ",Digest"},
		{"none offered fits", client.AuthDigest, []string{"Basic realm=r"}, "Basic", ""},
		{"none taken", "", []string{"Basic realm=r", digest("MD5"), "NTLM"}, "", ",Digest,NTLM,Basic"},
	} {
		for _, keep := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, kept %t", tt.name, keep), func(t *testing.T) {
				p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
					if scheme, _, _ := strings.Cut(value, " "); tt.takes != "" && scheme == tt.takes {
						return testkit.TunnelOpen, true
					}
					return testkit.Reply407(tt.challenges...), keep
				})
				err := logIn(t, p, func(c *client.Client) { c.Auth = tt.auth })
				if got := p.Schemes(); got != tt.want {
					t.Errorf("shown: %q, want %q", got, tt.want)
				}
				values, conns := p.Values()
				if keep && conns != 1 || !keep && conns != len(values) {
					t.Errorf("%d requests over %d connections", len(values), conns)
				}
				if taken := strings.HasSuffix(tt.want, tt.takes) && tt.takes != ""; (err == nil) != taken || err != nil && tunnel.ExitCode(err) != tunnel.ExitCredentials {
					t.Errorf("Open: %v", err)
				}
			})
		}
	}
}

// The digests are those of RFC 7616, section 3.4, for CONNECT.
func TestLoginDigestSums(t *testing.T) {
	sha := func(s string) string { b := sha256.Sum256([]byte(s)); return hex.EncodeToString(b[:]) }
	for _, tt := range []struct {
		name, challenge string
		sum             func(string) string
		session         bool
	}{
		{"MD5", `Digest realm="r", nonce="n", qop="auth-int, auth", opaque="o"`, client.SumMD5, false},
		{"MD5 without qop", `Digest realm="r", nonce="n"`, client.SumMD5, false},
		{"SHA-256", `Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256`, sha, false},
		{"MD5-sess", `Digest realm="r", nonce="n", qop="auth", algorithm=MD5-sess`, client.SumMD5, true},
		{"SHA-256-sess", `Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256-sess`, sha, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testkit.StartLoginProxy(t, func(_, request int, value string) (string, bool) {
				f := testkit.Parameters(value)
				a1 := tt.sum("Mufasa:r:Circle of Life")
				if tt.session {
					a1 = tt.sum(a1 + ":n:" + f["cnonce"])
				}
				want := tt.sum(a1 + ":n:" + tt.sum("CONNECT:a.example:22"))
				if f["qop"] != "" {
					want = tt.sum(a1 + ":n:" + f["nc"] + ":" + f["cnonce"] + ":auth:" + tt.sum("CONNECT:a.example:22"))
				}
				if f["response"] != want || f["uri"] != "a.example:22" || f["username"] != "Mufasa" {
					return testkit.Reply407(tt.challenge), true
				}
				return testkit.TunnelOpen, true
			})
			if err := logIn(t, p, nil); err != nil {
				values, _ := p.Values()
				t.Errorf("%v after %q", err, values)
			}
		})
	}
}

// A stale nonce is not a refusal, but a proxy that declares every nonce stale refuses.
func TestLoginStaleNonce(t *testing.T) {
	for _, fresh := range []int{2, 100} {
		p := testkit.StartLoginProxy(t, func(_, request int, value string) (string, bool) {
			if testkit.Parameters(value)["nonce"] == fmt.Sprint(fresh) {
				return testkit.TunnelOpen, true
			}
			return testkit.Reply407(fmt.Sprintf(`Digest realm="r", nonce="%d", stale=%t, qop="auth"`, request, request > 1)), true
		})
		err := logIn(t, p, nil)
		values, _ := p.Values()
		if fresh == 2 && err != nil || fresh != 2 && (tunnel.ExitCode(err) != tunnel.ExitCredentials || len(values) != 2+client.MaxStale) {
			t.Errorf("fresh is %d: %v after %d requests", fresh, err, len(values))
		}
	}
}

// NTLM needs one connection for all its messages. If the proxy closes its connections
// after each answer, another scheme is tried.
func TestLoginNTLM(t *testing.T) {
	for _, tt := range []struct {
		name  string
		keep  func(conn, request int) bool
		want  string
		conns int
	}{
		{"kept", func(_, _ int) bool { return true }, ",NTLM,NTLM", 1},
		{"the first one closes, and does not say so", func(conn, _ int) bool { return conn > 1 }, ",NTLM,NTLM", 2},
		{"never kept", func(_, _ int) bool { return false }, ",NTLM,Basic", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testkit.StartLoginProxy(t, func(conn, request int, value string) (string, bool) {
				message, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, "NTLM "))
				switch {
				case strings.HasPrefix(value, "Basic"), len(message) > 8 && message[8] == 3:
					return testkit.TunnelOpen, true
				case len(message) > 8 && message[8] == 1:
					return testkit.Reply407("NTLM " + testkit.NTLMChallenge()), tt.keep(conn, request)
				}
				return testkit.Reply407("NTLM", "Basic realm=r"), tt.keep(conn, request)
			})
			if err := logIn(t, p, nil); err != nil {
				t.Error(err)
			}
			if got := p.Schemes(); got != tt.want {
				t.Errorf("shown: %q, want %q", got, tt.want)
			}
			if _, conns := p.Values(); conns != tt.conns {
				t.Errorf("over %d connections, want %d", conns, tt.conns)
			}
		})
	}
}

// After a 407 that should leave the connection open, the proxy may close it all the same,
// or it may be unfit for another request. The Client then uses another connection.
func TestLoginNeedsAnotherConnection(t *testing.T) {
	const head = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n"
	for _, tt := range []struct {
		name, reply string
		conns       int
	}{
		{"says it closes", head + "Connection: close\r\nContent-Length: 0\r\n\r\n", 2},
		{"as old proxies say it", head + "Proxy-Connection: Close\r\nContent-Length: 0\r\n\r\n", 2},
		{"HTTP/1.0", strings.Replace(head, "1.1", "1.0", 1) + "Content-Length: 0\r\n\r\n", 2},
		{"length unknown", head + "\r\n", 2},
		{"more than its length", head + "Content-Length: 1\r\n\r\nab", 2},
		{"two lengths", head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 2},
		{"content without end", head + "Content-Length: 10000000\r\n\r\n" + strings.Repeat("x", 200_000), 2},
		{"closes without a word", head + "Content-Length: 0\r\n\r\n", 2},
		{"chunks without an end", head + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y", 2},
		{"chunks and a trailer", head + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", 1},
		{"a long page", head + "Content-Length: 40000\r\n\r\n" + strings.Repeat("x", 40_000), 1},
		{"HTTP/1.0 kept", strings.Replace(head, "1.1", "1.0", 1) + "Proxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
				if value != "" {
					return testkit.TunnelOpen, true
				}
				return tt.reply, tt.conns == 1
			})
			if err := logIn(t, p, nil); err != nil {
				t.Error(err)
			}
			if _, conns := p.Values(); conns != tt.conns {
				t.Errorf("%d connections, want %d", conns, tt.conns)
			}
		})
	}
}

// If a proxy never stops asking, the Client gives up after a bounded number of rounds.
func TestLoginIsBounded(t *testing.T) {
	n := 0
	p := testkit.StartLoginProxy(t, func(int, int, string) (string, bool) {
		n++
		return testkit.Reply407(fmt.Sprintf(`Digest realm="r", nonce="%d", stale=true`, n), "NTLM "+testkit.NTLMChallenge(), strings.Repeat("Basic realm=x, ", 3000)+"X"), true
	})
	err := logIn(t, p, nil)
	if values, _ := p.Values(); tunnel.ExitCode(err) != tunnel.ExitCredentials || len(values) > client.MaxLoginRounds+1 {
		t.Errorf("%v after %d requests", err, len(values))
	}
}

// If a later hop of a chain asks, it gets its own credentials. The hops before it are asked
// again if it closed the connection.
func TestLoginAtTheSecondHop(t *testing.T) {
	for _, keep := range []bool{true, false} {
		second := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
			if strings.HasPrefix(value, "Basic dHdv") {
				return testkit.TunnelOpen, true
			}
			return testkit.Reply407("Basic realm=2"), keep
		})
		first := tunneltest.StartProxy(t, tunneltest.Honest()...)
		c := clienttest.Proxied(t, "http://one:1@"+first.Addr(), "http://two:2@"+second.Addr())
		conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		heads := first.Heads()
		if want := map[bool]int{true: 1, false: 2}[keep]; len(heads) != want || strings.Contains(strings.Join(heads, ""), "Authorization") {
			t.Errorf("kept %t: the first hop got %q", keep, heads)
		}
	}
}

// A tunnel begins with the scheme by which the one before was opened, and so costs no 407,
// or one only with NTLM. Copies of a Client share what it learned, except for clones.
func TestLoginRemembersTheScheme(t *testing.T) {
	for _, tt := range []struct{ name, challenge, first, next string }{
		{"Basic", "Basic realm=r", ",Basic", "Basic"},
		{"Digest", `Digest realm="r", nonce="n", qop="auth"`, ",Digest", "Digest"},
		{"NTLM", "NTLM", ",NTLM,NTLM", "NTLM,NTLM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
				switch scheme, message, _ := strings.Cut(value, " "); {
				case scheme == "NTLM" && !strings.HasPrefix(message, "TlRMTVNTUAAD"):
					return testkit.Reply407("NTLM " + testkit.NTLMChallenge()), true
				case scheme != "":
					return testkit.TunnelOpen, true
				}
				return testkit.Reply407(tt.challenge), true
			})
			c := clienttest.Proxied(t, "http://Mufasa:x@"+p.Addr())
			for _, c := range []*client.Client{c, c, c.Unshared(), c.Clone()} {
				conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
			}
			if got, want := p.Schemes(), strings.Join([]string{tt.first, tt.next, tt.next, tt.first}, ","); got != want {
				t.Errorf("shown: %q, want %q", got, want)
			}
			if values, _ := p.Values(); tt.name == "Digest" {
				for i, nc := range []string{"", "00000001", "00000002", "00000003", "", "00000001"} {
					if got := testkit.Parameters(values[i])["nc"]; got != nc {
						t.Errorf("request %d has the count %q, want %q", i, got, nc)
					}
				}
			}
		})
	}
}

// If the proxy does not want any more what it wanted before, nothing is lost but the request
// that says so, and the next tunnel does not repeat it.
func TestLoginForgetsAScheme(t *testing.T) {
	nonce := "1"
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if testkit.Parameters(value)["nonce"] == nonce || nonce == "" && strings.HasPrefix(value, "Basic") {
			return testkit.TunnelOpen, true
		}
		if nonce == "" {
			return testkit.Reply407("Basic realm=r"), true
		}
		return testkit.Reply407(`Digest realm="r", nonce="` + nonce + `", qop="auth"`), true // without stale
	})
	c := clienttest.Proxied(t, "http://Mufasa:x@"+p.Addr())
	for _, nonce = range []string{"1", "2", "", ""} {
		conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if got := p.Schemes(); got != ",Digest,Digest,Digest,Digest,Basic,Basic" {
		t.Errorf("shown: %q", got)
	}
}

// Credentials that opened a tunnel by Basic are in the first request for the next one.
func TestLoginRemembersBasic(t *testing.T) {
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if value != "" {
			return testkit.TunnelOpen, true
		}
		return testkit.Reply407("Basic realm=r"), true
	})
	c := clienttest.Proxied(t, "http://Mufasa:x@"+p.Addr())
	for range 3 {
		conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if got := p.Schemes(); got != ",Basic,Basic,Basic" {
		t.Errorf("shown: %q", got)
	}
}

// The deadline is one for all rounds of a login.
func TestLoginDeadline(t *testing.T) {
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if value == "" {
			return testkit.Reply407("Basic realm=r"), true
		}
		return "", true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*testkit.BriefWait)
	defer cancel()
	_, err := clienttest.Proxied(t, "http://me:x@"+p.Addr()).Open(ctx, testkit.MustAuthority(t, "a.example:22"))
	if tunnel.ExitCode(err) != tunnel.ExitDeadline {
		t.Errorf("the end is %v", err)
	}
	// It was silent on the connection that carried its 407, and on another one.
	if values, conns := p.Values(); len(values) != 3 || conns != 2 {
		t.Errorf("%d requests over %d connections", len(values), conns)
	}
	sentence, hint := explain.Error(err)
	if want := "proxy " + p.Addr() + " asked for a login, and then did not answer in time"; sentence != want || !strings.HasPrefix(hint, "send the credentials unasked, with --auth basic: ") {
		t.Errorf("%q, %q", sentence, hint)
	}
}

// If a proxy quotes our answer, in its reason phrase, its fields or its page, the answer is
// masked.
func TestLoginAnswersAreMasked(t *testing.T) {
	for _, scheme := range []string{`Digest realm="r", nonce="n", qop="auth", algorithm=MD5`, "NTLM", "Basic realm=r"} {
		t.Run(scheme, func(t *testing.T) {
			var answers []string
			proxy := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
				if value == "" {
					return "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: " + scheme + "\r\n\r\n", true
				}
				_, secret, _ := strings.Cut(value, " ")
				answers = append(answers, secret)
				if _, response, ok := strings.Cut(secret, `response="`); ok {
					response, _, _ = strings.Cut(response, `"`)
					answers = append(answers, response)
				}
				page := "you sent " + value + " or " + answers[len(answers)-1]
				return fmt.Sprintf("HTTP/1.1 403 %s\r\nProxy-Status: p; details=%q\r\nX: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
					answers[len(answers)-1], answers[len(answers)-1], value, len(page), page), false
			})
			c := &client.Client{Route: testkit.MustRoute(t, "http://user:password@"+proxy.Addr())}
			var shown strings.Builder
			c.Trace = &client.Trace{Exchanged: func(x *client.Exchange) { shown.Write(c.Mask(x.Request)); shown.Write(c.Mask(x.Reply)) }}
			_, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
			sentence, hint := explain.Error(err)
			shown.WriteString(sentence + hint + err.Error())
			if len(answers) == 0 || !strings.Contains(shown.String(), "403") {
				t.Fatalf("nothing was answered: %s", shown.String())
			}
			for _, secret := range answers {
				if strings.Contains(shown.String(), secret) {
					t.Errorf("%q is in %s", secret, shown.String())
				}
			}
		})
	}
}
