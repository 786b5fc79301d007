package client

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/internal/wire"
)

// No challenge makes a login panic, or answer with what is no field value.
func FuzzLogins(f *testing.F) {
	for _, value := range []string{
		`Digest realm="a", nonce="b", qop="auth,auth-int", algorithm=SHA-512-256-sess, opaque="c", stale=TRUE, userhash=true`, `Digest nonce=a, charset=UTF-8`,
		"NTLM", "NTLM TlRMTVNTUAACAAAAAAAAADgAAAABAoIAASNFZ4mrze8AAAAAAAAAAAAAAAAAAAAA", "Negotiate oRUwEw==", "Basic realm=x", "Bearer", "Digest ,,,=,\"",
	} {
		f.Add(value, value)
	}
	next := testkit.MustAuthority(f, "a.test:22")
	f.Fuzz(func(t *testing.T, first, second string) {
		credentials := tunnel.Credentials{User: "ada", Password: "secret"}
		for _, login := range []loginScheme{&digestLogin{credentials: credentials}, &ntlmLogin{credentials: credentials}, &plainLogin{scheme: AuthBasic, credentials: credentials}} {
			for _, value := range []string{first, second} {
				for _, c := range parseChallenges([]string{value}) {
					c.digestStrength()
					answer, _, err := login.answer(c, next)
					if err == nil && wire.HasControl(answer) {
						t.Errorf("%s answers %q by %q", login.name(), value, answer)
					}
				}
			}
		}
	})
}

// No refusal makes the explanation of it panic, or hold a control character, or be long.
func FuzzRefusal(f *testing.F) {
	f.Add([]byte("HTTP/1.1 403 No\r\nProxy-Status: x; error=dns_error; details=\"why\"; rcode=\"NX\"\r\n\r\n<html><title>no</title>"))
	f.Add([]byte("HTTP/1.1 503 No\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<h1>x\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 502 No\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00"))
	f.Add([]byte("HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"\r\nContent-Encoding: deflate\r\n\r\n{\"error\": \"x\"}"))
	f.Add([]byte("HTTP/1.1 302 No\r\nLocation: http://login.test/\r\nContent-Length: 4\r\n\r\nbody"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		br := bufio.NewReader(bytes.NewReader(raw))
		reply, err := wire.ReadReply(br, 0)
		if err != nil || reply.Code < 200 {
			return
		}
		content := newContent(br, reply)
		body, _ := content.excerpt()
		content.finish()
		persists(reply)
		e := RefusalError(reply, body)
		if wire.HasControl(e.Detail) || wire.HasControl(e.RCode) || len(e.Detail) > MaxDetail+len("...") {
			t.Errorf("detail %q, rcode %q", e.Detail, e.RCode)
		}
		if e.Login != nil {
			for _, s := range e.Login.Schemes {
				if !wire.IsToken(s) {
					t.Errorf("scheme %q", s)
				}
			}
		}
	})
}

// readConn is a connection of which everything that will come is there already.
type readConn struct {
	net.Conn
	in *bytes.Reader
}

func (c readConn) Read(b []byte) (int, error)     { return c.in.Read(b) }
func (readConn) Write(b []byte) (int, error)      { return len(b), nil }
func (readConn) SetDeadline(time.Time) error      { return nil }
func (readConn) SetReadDeadline(time.Time) error  { return nil }
func (readConn) SetWriteDeadline(time.Time) error { return nil }

// Whatever a SOCKS proxy answers, the handshake reads no byte beyond its answer, and an
// error quotes nothing unescaped.
func FuzzSOCKSAnswers(f *testing.F) {
	f.Add([]byte("\x05\x02\x01\x00\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50early"))
	f.Add([]byte("\x05\x00\x05\x00\x00\x03\x04name\x00\x50"))
	f.Add([]byte("\x05\x00\x05\x05\x00\x04"))
	f.Add([]byte("\x00\x5a\x00\x00\x00\x00\x00\x00early"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	next := testkit.MustAuthority(f, "a.test:22")
	f.Fuzz(func(t *testing.T, answers []byte) {
		for _, scheme := range []string{tunnel.SchemeSOCKS5H, tunnel.SchemeSOCKS4A} {
			for _, credentials := range []*tunnel.Credentials{nil, {User: "ada", Password: "secret"}} {
				hop := tunnel.Hop{Scheme: scheme, Proxy: testkit.MustAuthority(t, "proxy.test:1080"), Credentials: credentials}
				conn := readConn{in: bytes.NewReader(answers)}
				var said strings.Builder
				c := &Client{Trace: &Trace{SOCKSExchanged: func(m *SOCKSMessage) { io.WriteString(&said, m.Asks()+m.Means()) }}}
				s := socksHandshake{&hopRequest{client: c, hop: hop, next: next, first: true}, conn}
				e := s.connect(t.Context())
				if e != nil && wire.HasControl(e.Error()) || wire.HasControl(said.String()) {
					t.Errorf("%q: error %q, said %q", answers, e, &said)
				}
				// The last answer ends with a port, or is one of 8 bytes.
				if e == nil && conn.in.Len() == len(answers) {
					t.Error("nothing was read")
				}
			}
		}
	})
}
