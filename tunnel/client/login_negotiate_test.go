package client_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/testkit"
)

// fakeTickets is a Negotiator with numbered tokens. It accepts the token "proof".
type fakeTickets struct {
	hosts []string
	made  int
	err   error // returned by negotiator
}

func (f *fakeTickets) negotiator(host string) (client.Negotiator, error) {
	f.hosts = append(f.hosts, host)
	return f, f.err
}

func (f *fakeTickets) Start() ([]byte, error) {
	f.made++
	return fmt.Appendf(nil, "token %d", f.made), nil
}

func (f *fakeTickets) Verify(token []byte) error {
	if string(token) != "proof" {
		return errors.New("the proof is wrong")
	}
	return nil
}

func TestLoginNegotiate(t *testing.T) {
	const closes = "HTTP/1.1 407 No\r\nConnection: close\r\nContent-Length: 0\r\nProxy-Authenticate: "
	const stays = "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: "
	none := &client.LoginError{Err: errors.New("there is no ticket"), Hint: "get one with kinit"}
	proof := func(s string) string {
		return "HTTP/1.1 200 OK\r\nProxy-Authenticate: Negotiate " + base64.StdEncoding.EncodeToString([]byte(s)) + "\r\n\r\n"
	}
	for _, tt := range []struct {
		name, user, auth string
		refuse           string // the reply to all schemes but the accepted one
		challenges       string
		takes, ok        string
		err              error
		want             string // the schemes sent, and the exit code if not 0
		says             string
	}{
		{name: "alone, no user", refuse: stays, challenges: "Negotiate", takes: "Negotiate", want: ",Negotiate"},
		{name: "over a connection that closes", refuse: closes, challenges: "Negotiate", takes: "Negotiate", want: ",Negotiate"},
		{name: "before the others", user: "a:b@", refuse: stays, challenges: "Basic realm=x, Negotiate, Digest nonce=n", takes: "Negotiate", want: ",Negotiate"},
		{name: "then the others", user: "a:b@", refuse: stays, challenges: "Basic realm=x, Negotiate", takes: "Basic", want: ",Negotiate,Basic"},
		{name: "the others where there is no ticket", user: "a:b@", refuse: stays, challenges: "Negotiate, Basic realm=x", takes: "Basic", err: none, want: ",Basic"},
		{name: "alone by flag", user: "a:b@", auth: client.AuthNegotiate, refuse: stays, challenges: "Negotiate, Basic realm=x", takes: "Basic", want: ",Negotiate:5", says: "refused the credentials"},
		{name: "not by flag", auth: client.AuthBasic, refuse: stays, challenges: "Negotiate", takes: "Negotiate", want: ":5", says: "wants credentials"},
		{name: "no ticket", refuse: stays, challenges: "Negotiate", takes: "Negotiate", err: none, want: ":5", says: "it offers Negotiate; there is no ticket|get one with kinit"},
		{name: "no ticket, but a password would do", refuse: stays, challenges: "Negotiate, Basic realm=x", takes: "Negotiate", err: none, want: ":5", says: "there is no ticket|give them with --proxy-user"},
		{name: "nothing set up, but a password would do", refuse: stays, challenges: "Negotiate, Basic realm=x", takes: "Negotiate", err: &client.LoginError{Err: errors.New("no Kerberos"), Unset: true},
			want: ":5", says: "it offers Negotiate, Basic\n"},
		{name: "nothing set up", refuse: stays, challenges: "Negotiate", takes: "Negotiate", err: &client.LoginError{Err: errors.New("no Kerberos"), Unset: true}, want: ":5", says: "it offers Negotiate; no Kerberos\n"},
		{name: "the proxy's proof", refuse: stays, challenges: "Negotiate", takes: "Negotiate", ok: proof("proof"), want: ",Negotiate"},
		{name: "a forged proof", refuse: stays, challenges: "Negotiate", takes: "Negotiate", ok: proof("forged"), want: ",Negotiate:8", says: "the proof is wrong"},
		{name: "a proof that is none", refuse: stays, challenges: "Negotiate", takes: "Negotiate", ok: "HTTP/1.1 200 OK\r\nProxy-Authenticate: Negotiate ***\r\n\r\n", want: ",Negotiate:8", says: "not base64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var schemes []string
			proxy := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
				scheme, _, _ := strings.Cut(value, " ")
				schemes = append(schemes, scheme)
				if scheme == tt.takes {
					if tt.ok != "" {
						return tt.ok, true
					}
					return "HTTP/1.1 200 OK\r\n\r\n", true
				}
				return tt.refuse + tt.challenges + "\r\n\r\n", tt.refuse == stays
			})
			tickets := &fakeTickets{err: tt.err}
			c := &client.Client{Route: testkit.MustRoute(t, "http://"+tt.user+proxy.Addr()), Auth: tt.auth, Negotiate: tickets.negotiator}
			conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "a.example:22"))
			got := strings.Join(schemes, ",")
			if err != nil {
				got = fmt.Sprint(got, ":", tunnel.ExitCode(err))
				sentence, hint := explain.Error(err)
				for want := range strings.SplitSeq(tt.says, "|") {
					if !strings.Contains(sentence+"\n"+hint, want) {
						t.Errorf("%q is not said in %q, hint %q", want, sentence, hint)
					}
				}
			} else {
				conn.Close()
			}
			if got != tt.want {
				t.Errorf("shown %q, want %q (%v)", got, tt.want, err)
			}
			for _, host := range tickets.hosts {
				if host != "127.0.0.1" {
					t.Errorf("a ticket for %q", host)
				}
			}
		})
	}
}

// If a proxy offers only Negotiate, and there are credentials but no ticket, the Client
// sends NTLM under that name, over one connection. If the proxy does not accept it, the
// credentials are refused.
func TestLoginNTLMWithinNegotiate(t *testing.T) {
	for _, tt := range []struct {
		name, auth, offers string
		takes              bool
		want               string // the types of the messages sent, and the exit code if not 0
	}{
		{"taken", "", "Negotiate", true, ",1,3"},
		{"by flag", client.AuthNegotiate, "Negotiate", true, ",1,3"},
		{"refused", "", "Negotiate", false, ",1,3:5"},
		{"another is offered", "", "Negotiate, Hawk, Basic", true, ",Basic:5"},
		{"another by flag", client.AuthDigest, "Negotiate", true, ":5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var shown []string
			p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
				scheme, rest, _ := strings.Cut(value, " ")
				message, _ := base64.StdEncoding.DecodeString(rest)
				if scheme == "Negotiate" && len(message) > 8 && string(message[:7]) == "NTLMSSP" {
					scheme = fmt.Sprint(message[8])
				}
				shown = append(shown, scheme)
				switch {
				case scheme == "1":
					return testkit.Reply407("Negotiate " + testkit.NTLMChallenge()), true
				case scheme == "3" && tt.takes:
					return testkit.TunnelOpen, true
				}
				return testkit.Reply407(strings.Split(tt.offers, ", ")...), true
			})
			tickets := &fakeTickets{err: &client.LoginError{Err: errors.New("there is no ticket")}}
			err := logIn(t, p, func(c *client.Client) { c.Auth, c.Negotiate = tt.auth, tickets.negotiator })
			got := strings.Join(shown, ",")
			if code := tunnel.ExitCode(err); code != 0 {
				got += fmt.Sprintf(":%d", code)
			}
			if _, conns := p.Values(); got != tt.want || conns != 1 {
				t.Errorf("%q over %d connections, want %q: %v", got, conns, tt.want, err)
			}
		})
	}
}
