//go:build unix

package realtest

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// secureProxy is a proxy of HTTP/1.1 over TLS that accepts with the words glued
// to the reply, in one record, and is then what be makes of it.
func secureProxy(t *testing.T, own *certified, glued string, be func(*tls.Conn)) string {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{own.pair(t)}}
	return tunneltest.Start(t, func(conn net.Conn) {
		secured := tls.Server(conn, config)
		head := make([]byte, 0, 512)
		for !strings.HasSuffix(string(head), "\r\n\r\n") {
			b := make([]byte, 1)
			if _, err := secured.Read(b); err != nil {
				return
			}
			head = append(head, b...)
		}
		io.WriteString(secured, "HTTP/1.1 200 OK\r\n\r\n"+glued)
		be(secured)
	}).Addr()
}

// Over TLS with the proxy, standard input and output keep the contract: bytes
// on the reply's heels come first, end of file is close_notify either way, and
// an end without it, or a reset, is a broken tunnel.
func TestDialEndsOverTLS(t *testing.T) {
	t.Parallel()
	authority := issue(t, nil, "authority", tomorrow())
	own := issue(t, authority, "proxy", tomorrow())
	reset := func(c *tls.Conn) {
		c.NetConn().(*net.TCPConn).SetLinger(0)
		c.NetConn().Close()
	}
	for _, tt := range []struct {
		name   string
		be     func(*tls.Conn)
		code   int
		stdout string
		word   string
	}{
		{"echo to the half-close and after", func(c *tls.Conn) {
			text, err := io.ReadAll(c)
			if err == nil {
				io.WriteString(c, string(text)+" and done")
				c.Close()
			}
		}, 0, "glued said and done", ""},
		{"the proxy ends first", func(c *tls.Conn) {
			c.CloseWrite()
			io.Copy(io.Discard, c)
		}, 0, "glued ", ""},
		{"cut", func(c *tls.Conn) { io.ReadAll(c); c.NetConn().Close() }, 10, "glued ", "close_notify"},
		{"reset", func(c *tls.Conn) { io.ReadAll(c); reset(c) }, 10, "glued ", "reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := secureProxy(t, own, "glued ", tt.be)
			stdout, stderr, code := runProgram(t, strings.NewReader("said"), culvert(t), "dial", "-x", "https://"+proxy, "--cacert", authority.cert, "--", "example.test:22")
			if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.word) {
				t.Errorf("exit %d, %q, %q; want %d, %q, %q", code, stdout, stderr, tt.code, tt.stdout, tt.word)
			}
		})
	}
}

// Hops of HTTP/1.1, with TLS to one of them, in either order, or to both, and
// inside as well.
func TestDialChainsOverTLS(t *testing.T) {
	t.Parallel()
	authority := issue(t, nil, "authority", tomorrow())
	config := &tls.Config{Certificates: []tls.Certificate{issue(t, authority, "both", tomorrow()).pair(t)}}
	target := tunneltest.Start(t, func(conn net.Conn) {
		secured := tls.Server(conn, config)
		text, err := io.ReadAll(secured)
		if err == nil {
			secured.Write(text)
			secured.Close()
		}
	}).Addr()
	text := strings.Repeat("a chain of tunnels, ", 1<<16)
	for _, hops := range [][]string{{"http", "https"}, {"https", "http"}, {"https", "https"}} {
		t.Run(strings.Join(hops, ","), func(t *testing.T) {
			arg := []string{"dial", "--cacert", authority.cert, "--tls", "--tls-cacert", authority.cert}
			for _, scheme := range hops {
				at := honest(t)
				if scheme == "https" {
					at = secureFront(t, config)
				}
				arg = append(arg, "-x", scheme+"://"+strings.TrimPrefix(at, "http://"))
			}
			stdout, stderr, code := runProgram(t, strings.NewReader(text), culvert(t), append(arg, "--", target)...)
			if code != 0 || stdout != text {
				t.Errorf("exit %d, %d bytes of %d, %q", code, len(stdout), len(text), stderr)
			}
		})
	}
}

// -v tells of both handshakes: version, cipher, ALPN, certificate, days left.
func TestDialVerboseTellsOfTLS(t *testing.T) {
	t.Parallel()
	authority := issue(t, nil, "authority", tomorrow())
	config := &tls.Config{Certificates: []tls.Certificate{issue(t, authority, "proxy", time.Now().Add(25*time.Hour)).pair(t)}}
	target := tunneltest.Start(t, func(conn net.Conn) {
		secured := tls.Server(conn, &tls.Config{Certificates: config.Certificates, NextProtos: []string{"one"}, MaxVersion: tls.VersionTLS12})
		secured.Handshake()
		secured.Close()
	}).Addr()
	proxy := secureFront(t, config)
	_, stderr, code := runProgram(t, nil, culvert(t), "dial", "-v", "-x", "https://"+proxy, "--cacert", authority.cert, "--tls", "--tls-cacert", authority.cert, "--tls-alpn", "one", "--", target)
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"TLS with " + proxy + ": TLS 1.3, TLS_AES", "no ALPN; verified by the chain and the name", "TLS with " + target + ": TLS 1.2, TLS_ECDHE", "ALPN one; ", "subject CN=proxy, issuer CN=authority", "1 day left"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in %s", want, stderr)
		}
	}
}

// probe's JSON has the handshake whole.
func TestProbeTellsOfTLSInJSON(t *testing.T) {
	t.Parallel()
	authority := issue(t, nil, "authority", tomorrow())
	own := issue(t, authority, "proxy", time.Now().Add(25*time.Hour))
	proxy := secureFront(t, &tls.Config{Certificates: []tls.Certificate{own.pair(t)}})
	target := tunneltest.Start(t, tunneltest.Say("hello")).Addr()
	for _, known := range []bool{true, false} {
		arg := []string{"probe", "--json", "-x", "https://" + proxy}
		if known {
			arg = append(arg, "--cacert", authority.cert)
		}
		stdout, _, code := runProgram(t, nil, culvert(t), append(arg, target)...)
		var r struct {
			TLS []struct {
				Peer, Version, Cipher_suite, Verified, Error string
				Inside                                       bool
				Chain                                        []struct {
					Subject, Issuer, Pin  string
					Names                 []string
					Not_before, Not_after time.Time
					Days_left             int
				}
			}
			Verdict struct{ Exit_code int }
		}
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || len(r.TLS) != 1 {
			t.Fatalf("%v: %s", err, stdout)
		}
		h := r.TLS[0]
		want, trust := 0, "the chain and the name"
		if !known {
			want, trust = 4, "nothing"
		}
		if code != want || h.Peer != proxy || h.Version != "TLS 1.3" || h.Cipher_suite == "" || h.Verified != trust || (h.Error == "") != known || h.Inside {
			t.Errorf("known %v: exit %d, %+v", known, code, h)
		}
		if len(h.Chain) == 0 || h.Chain[0].Subject != "CN=proxy" || h.Chain[0].Issuer != "CN=authority" || h.Chain[0].Days_left != 1 || !h.Chain[0].Not_after.Equal(own.leaf.NotAfter) || !strings.HasPrefix(h.Chain[0].Pin, "sha256//") {
			t.Errorf("known %v: %s", known, stdout)
		}
	}
}

// OpenSSL at the target's end, in both versions of TLS.
func TestRealDialToOpenSSL(t *testing.T) {
	t.Parallel()
	openssl := needs(t, "openssl")[0]
	authority := issue(t, nil, "authority", tomorrow())
	own := issue(t, authority, "target", tomorrow())
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			port := freePort(t)
			background(t, openssl, "s_server", "-accept", "127.0.0.1:"+port, "-cert", own.cert, "-key", own.pem, "-rev", "-quiet", version)
			accepts(t, "127.0.0.1:"+port)
			stdout, stderr, code := runProgram(t, strings.NewReader("palindrome\n"), culvert(t), "dial", "-x", honest(t), "--tls", "--tls-cacert", authority.cert, "--", "127.0.0.1:"+port)
			if code != 0 || strings.TrimSpace(stdout) != "emordnilap" {
				t.Errorf("exit %d, %q, %q", code, stdout, stderr)
			}
		})
	}
}
