package client_test

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// ntlmOffer returns a challenge of 40 bytes with these flags, in base64.
func ntlmOffer(flags uint32) string {
	m := make([]byte, 40)
	copy(m, "NTLMSSP\x00\x02")
	binary.LittleEndian.PutUint32(m[20:], flags)
	return base64.StdEncoding.EncodeToString(m)
}

// ntlmMessage returns the message in a value, its type, 0 = none, and the length of its
// answer by NT's hash.
func ntlmMessage(value string) (kind, answer int) {
	_, text, _ := strings.Cut(value, " ")
	m, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(m) < 12 {
		return 0, 0
	}
	if kind = int(m[8]); kind == 3 && len(m) >= 22 {
		answer = int(binary.LittleEndian.Uint16(m[20:]))
	}
	return kind, answer
}

// Challenges without Unicode, with LAN Manager's key and with a key exchange are answered,
// by version 2 unless version 1 is asked for.
func TestLoginNTLMChallenges(t *testing.T) {
	const unicode, oem, lmKey, ntlm, extended, info, exchange = 1, 2, 1 << 7, 1 << 9, 1 << 19, 1 << 23, 1 << 30
	for name, flags := range map[string]uint32{
		"OEM and LM's key": oem | lmKey | ntlm, "OEM": oem | ntlm, "key exchange": unicode | ntlm | extended | info | exchange,
		"nothing": 0, "LM only": oem | lmKey, "Unicode and LM's key": unicode | lmKey | ntlm,
	} {
		for auth, v1 := range map[string]bool{"": false, client.AuthNTLM: false, client.AuthNTLMv1: true} {
			t.Run(name+" "+auth, func(t *testing.T) {
				t.Parallel()
				p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
					switch kind, answer := ntlmMessage(value); {
					case kind == 3 && (answer == 24) == v1 && answer >= 24:
						return testkit.TunnelOpen, true
					case kind == 1:
						return testkit.Reply407("NTLM " + ntlmOffer(flags)), true
					}
					return testkit.Reply407("NTLM"), true
				})
				if err := logIn(t, p, func(c *client.Client) { c.Auth = auth }); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// If NTLM fails before the credentials are sent, it is not they that were refused. What
// failed is said, with what helps.
func TestLoginNTLMFailures(t *testing.T) {
	challenge := testkit.Reply407("NTLM " + testkit.NTLMChallenge())
	closing := strings.Replace(challenge, "\r\n", "\r\nConnection: close\r\n", 1)
	const broken = "the proxy's challenge is broken, or of a kind that culvert does not know: tell its administrator"
	const keep = "-H 'Proxy-Connection: keep-alive' may make the proxy, or what stands before it, keep the connection open; or name another scheme with --auth"
	wants := "wants credentials for a.example:22: 407 Proxy Authentication Required (sorry); it offers NTLM; "
	for _, tt := range []struct {
		name           string
		first, second  string // the replies to messages 1 and 3; "" = the connection is closed
		exit           int
		sentence, hint string
	}{
		{"says that it closes", closing, "", tunnel.ExitCredentials, wants + "it closed the connection in the middle of the login by NTLM", keep},
		{"closes without a word", challenge, "", tunnel.ExitNotAProxy, "gave no answer for a.example:22: it closed the connection in the middle of the login by NTLM", keep},
		{"no base64", testkit.Reply407("NTLM T!RM"), "", tunnel.ExitCredentials, wants + "no answer to NTLM: the challenge is not base64", broken},
		{"another message", testkit.Reply407("NTLM aGVsbG8gd29ybGQ="), "", tunnel.ExitCredentials, wants + "no answer to NTLM: the challenge is not an NTLM message", broken},
		{"no challenge", testkit.Reply407("NTLM"), "", tunnel.ExitCredentials, wants + "it did not answer NTLM's first message",
			"NTLM does not work there: tell the proxy's administrator"},
		{"old, refused", testkit.Reply407("NTLM " + ntlmOffer(2)), testkit.Reply407("NTLM"), tunnel.ExitCredentials,
			"refused the credentials for a.example:22: 407 Proxy Authentication Required (sorry); it offers NTLM; its NTLM challenge is of version 1, and was answered by version 2",
			`check user name and password; for NTLM the user may have to be DOMAIN\user; if they are right, the proxy may know version 1 only: --auth ntlm-v1 answers by that, which is weak`},
		{"new, refused", testkit.Reply407("NTLM " + ntlmOffer(1<<19|1<<23|1)), testkit.Reply407("NTLM"), tunnel.ExitCredentials,
			"refused the credentials for a.example:22: 407 Proxy Authentication Required (sorry); it offers NTLM",
			`check user name and password; for NTLM the user may have to be DOMAIN\user`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
				switch kind, _ := ntlmMessage(value); kind {
				case 1:
					return tt.first, !strings.Contains(tt.first, "close")
				case 3:
					return tt.second, tt.second != ""
				}
				return testkit.Reply407("NTLM"), true
			})
			err := logIn(t, p, nil)
			if code := tunnel.ExitCode(err); code != tt.exit {
				t.Errorf("exit code %d, want %d", code, tt.exit)
			}
			clienttest.WantExplained(t, err, "proxy "+p.Addr()+" "+tt.sentence, tt.hint)
		})
	}
}

// A change to another scheme is told, with its reason.
func TestLoginChangeIsTold(t *testing.T) {
	const digest = `Digest realm="r", nonce="n", qop="auth", algorithm=`
	challenge := testkit.Reply407("NTLM " + testkit.NTLMChallenge())
	for _, tt := range []struct {
		name, offers string
		toNTLM       string // the reply to NTLM's first message
		want         []string
	}{
		{"closed in the middle", "NTLM", strings.Replace(challenge, "\r\n", "\r\nConnection: close\r\n", 1),
			[]string{"NTLM: it closed the connection in the middle of the login by NTLM; Basic"}},
		{"refused", digest + "MD5", "", []string{"Digest: <nil>; Basic"}},
		{"not understood", digest + "ROT13", "", []string{`Digest: digest: unsupported algorithm: "ROT13"; Basic`}},
		{"closed without a word", "NTLM", challenge, []string{
			"NTLM: it closed the connection in the middle of the login; NTLM", "NTLM: it closed the connection in the middle of the login by NTLM; Basic"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
				switch kind, _ := ntlmMessage(value); {
				case strings.HasPrefix(value, "Basic"):
					return testkit.TunnelOpen, true
				case kind == 1:
					return tt.toNTLM, !strings.Contains(tt.toNTLM, "close")
				case kind == 3:
					return "", false
				}
				return testkit.Reply407("Basic realm=r", tt.offers), true
			})
			var got []string
			err := logIn(t, p, func(c *client.Client) {
				c.Trace = &client.Trace{LoginChanged: func(x client.LoginChange) {
					if x.Proxy != p.Addr() {
						t.Errorf("at %s", x.Proxy)
					}
					got = append(got, fmt.Sprintf("%s: %v; %s", x.Scheme, x.Err, x.Next))
				}}
			})
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%v after %q, want %q", err, got, tt.want)
			}
		})
	}
}

// NTLM is not begun over HTTP/2, whose connections carry the requests of others too.
func TestLoginNTLMOverHTTP2(t *testing.T) {
	var asked atomic.Int32
	p := startHTTP2LoginProxy(t, "NTLM", &asked)
	_, err := clienttest.Proxied(t, "h2c://me:pw@"+p).Open(t.Context(), testkit.MustAuthority(t, "a:22"))
	clienttest.WantExplained(t, err, "proxy "+p+" wants credentials for a:22: 407 Proxy Authentication Required; it offers NTLM; NTLM authenticates a connection, and those of HTTP/2 are shared",
		"name another scheme with --auth, or a port of the proxy's that speaks HTTP/1.1")
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// The content of a 407 that is answered is not waited for. That of one that is not may say
// why.
func TestLoginDoesNotWaitForContent(t *testing.T) {
	for _, user := range []string{"me:pw@", ""} {
		for _, scheme := range []string{"http", "h2c"} {
			t.Run(scheme+" "+user, func(t *testing.T) {
				t.Parallel()
				var proxy string
				if scheme == "h2c" {
					proxy = startHTTP2LoginProxy(t, "Basic realm=r", new(atomic.Int32))
				} else {
					proxy = tunneltest.Start(t, func(conn net.Conn) {
						br := bufio.NewReader(conn)
						if r, err := http.ReadRequest(br); err == nil && r.Header.Get("Proxy-Authorization") != "" {
							io.WriteString(conn, testkit.TunnelOpen)
						} else {
							io.WriteString(conn, "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=r\r\n\r\nwhy")
						}
						br.ReadByte() // until the Client closes the connection
					}).Addr()
				}
				var waited []bool
				c := clienttest.Proxied(t, scheme+"://"+user+proxy)
				c.Trace = &client.Trace{Exchanged: func(x *client.Exchange) { waited = append(waited, x.ContentError() != nil) }}
				conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "a:22"))
				if err == nil {
					conn.Close()
				}
				want := []bool{false, false}
				if user == "" {
					want = []bool{true}
				}
				if (err == nil) != (user != "") || !slices.Equal(waited, want) {
					t.Errorf("%v, waited %v, want %v", err, waited, want)
				}
			})
		}
	}
}

// startHTTP2LoginProxy starts a proxy that answers 407 with the challenge, and keeps the
// stream open, until it gets credentials.
func startHTTP2LoginProxy(t *testing.T, challenge string, asked *atomic.Int32) string {
	return tunneltest.Start(t, func(conn net.Conn) {
		h2.Server(conn, h2.Config{}, func(s *h2.Stream, head h2.Head) {
			asked.Add(1)
			if slices.ContainsFunc(head.Fields, func(f h2.Field) bool { return f.Name == "proxy-authorization" }) {
				_ = s.Respond([]h2.Field{{Name: ":status", Value: "200"}}, false)
			} else {
				_ = s.Respond([]h2.Field{{Name: ":status", Value: "407"}, {Name: "proxy-authenticate", Value: challenge}}, false)
			}
			_, _ = s.Read(make([]byte, 1))
			s.Close()
		}).Wait()
	}).Addr()
}
