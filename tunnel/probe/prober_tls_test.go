package probe

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/listen"
	"culvert/tunnel/proxy"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// probeSecure probes a Server over TLS that has the certificate.
func probeSecure(t *testing.T, pair tls.Certificate, max uint16, options *tunnel.TLSOptions) *Report {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: max}
	ts := serveProxy(t, &proxy.Server{}, listen.NewTLS(testkit.Listen(t, "127.0.0.1:0"), config))
	route := testkit.MustRoute(t, "https://"+ts.Addr)
	route.Hops[0].TLS = options
	p := &Prober{Client: &client.Client{Route: route}, Wait: testkit.Patience}
	r, err := p.Probe(t.Context(), testkit.MustAuthority(t, tunneltest.Start(t, tunneltest.Say("hello")).Addr()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Findings about certificates, which are shown whether they are accepted or not.
func TestProbeChecksTLS(t *testing.T) {
	const day = 24 * time.Hour
	good, roots := testkit.CertificateFor(t, "proxy.test", 100*day)
	soon, soonRoots := testkit.CertificateFor(t, "proxy.test", 3*day+time.Hour)
	old, oldRoots := testkit.CertificateFor(t, "proxy.test", -2*day)
	later := testkit.NewCertifier(t, "authority")
	early, earlyRoots := later.Leaf(-day, 2*day, "proxy.test"), later.Pool
	for _, tt := range []struct {
		name    string
		pair    tls.Certificate
		max     uint16
		options tunnel.TLSOptions
		verdict VerdictKind
		grades  map[string]Grade
		text    []string
	}{
		{"good", good, 0, tunnel.TLSOptions{Roots: roots, ServerName: "proxy.test"}, VerdictOpen,
			map[string]Grade{"tls-handshake": Pass, "tls-version": Pass, "tls-trust": Pass, "tls-name": Pass, "tls-dates": Pass, "http2-reply": Pass, "http2-settings": Pass, "http2-extended-connect": Pass},
			[]string{"TLS 1.3", "ALPN h2; verified by the chain and the name", "99 days left", "SETTINGS ", "ENABLE_CONNECT_PROTOCOL=1", "HEADERS stream 1", "< hello"}},
		{"pinned", good, 0, tunnel.TLSOptions{Insecure: true, Pins: []tunnel.Pin{tunnel.PinOf(good.Leaf)}}, VerdictOpen,
			map[string]Grade{"tls-trust": Warn, "tls-name": Fail}, []string{"verified by the pinned key alone", "not for 127.0.0.1 but for proxy.test"}},
		{"old version", good, tls.VersionTLS12, tunnel.TLSOptions{Roots: roots, ServerName: "proxy.test"}, VerdictOpen,
			map[string]Grade{"tls-version": Warn, "tls-trust": Pass}, []string{"TLS 1.2"}},
		{"soon expired", soon, 0, tunnel.TLSOptions{Roots: soonRoots, ServerName: "proxy.test"}, VerdictOpen,
			map[string]Grade{"tls-dates": Warn}, []string{"3 days left"}},
		{"expired", old, 0, tunnel.TLSOptions{Roots: oldRoots, ServerName: "proxy.test"}, VerdictTLS,
			map[string]Grade{"tls-handshake": Skip, "tls-trust": Pass, "tls-dates": Fail, "tls-name": Pass}, []string{"expired", "verdict: no TLS with the proxy"}},
		{"expired, and of an unknown authority", old, 0, tunnel.TLSOptions{Roots: roots, ServerName: "proxy.test"}, VerdictTLS,
			map[string]Grade{"tls-trust": Fail, "tls-dates": Fail}, nil},
		{"not valid yet", early, 0, tunnel.TLSOptions{Roots: earlyRoots, ServerName: "proxy.test"}, VerdictTLS,
			map[string]Grade{"tls-trust": Pass, "tls-dates": Fail}, nil},
		{"unknown authority", good, 0, tunnel.TLSOptions{Roots: oldRoots, ServerName: "proxy.test"}, VerdictTLS,
			map[string]Grade{"tls-handshake": Skip, "tls-trust": Fail, "tls-name": Pass}, []string{"subject CN=proxy.test, issuer CN=authority"}},
		{"insecure", good, 0, tunnel.TLSOptions{Roots: oldRoots, Insecure: true}, VerdictOpen,
			map[string]Grade{"tls-trust": Fail, "tls-name": Fail}, []string{"verified by nothing"}},
		{"too old", good, tls.VersionTLS11, tunnel.TLSOptions{Roots: roots, ServerName: "proxy.test"}, VerdictTLS,
			map[string]Grade{"tls-handshake": Fail, "tls-trust": Skip}, []string{"no TLS with the proxy"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := probeSecure(t, tt.pair, tt.max, &tt.options)
			var hex strings.Builder
			if r.WriteHex(&hex, terminal.Style{}); strings.Contains(hex.String(), "frames of HTTP/2") != strings.Contains(hex.String(), "\n* --hex shows no bytes of theirs, ") {
				t.Errorf("%s", &hex)
			}
			if r.Verdict.Kind != tt.verdict {
				t.Errorf("the verdict is %+v, want %s", r.Verdict, tt.verdict)
			}
			if (r.Verdict.ExitCode == tunnel.ExitProxyTLS) != (tt.verdict == VerdictTLS) {
				t.Errorf("exit %d", r.Verdict.ExitCode)
			}
			for id, want := range tt.grades {
				if f := findingOf(t, r, id); f.Grade != want {
					t.Errorf("%s: %s %q, want %s", id, f.Grade, f.Evidence, want)
				}
			}
			var text bytes.Buffer
			if err := r.WriteText(&text, terminal.Style{}); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.text {
				if !strings.Contains(text.String(), want) {
					t.Errorf("the text lacks %q:\n%s", want, &text)
				}
			}
		})
	}
}

// TLS inside the tunnel is checked too, including its close_notify.
func TestProbeChecksTLSInside(t *testing.T) {
	pair, roots := testkit.CertificateFor(t, "target.test", 1000*time.Hour)
	for _, goodbye := range []bool{true, false} {
		target := tunneltest.Start(t, func(conn net.Conn) {
			secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
			io.WriteString(secured, "hello")
			if goodbye {
				secured.CloseWrite()
			}
			tunneltest.CloseWrite(conn)
			io.Copy(io.Discard, conn)
		})
		p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, serveProxy(t, &proxy.Server{}, testkit.Listen(t, "127.0.0.1:0")).Addr), TLS: &tunnel.TLSOptions{Roots: roots, ServerName: "target.test"}}, Wait: testkit.Patience}
		r, err := p.Probe(t.Context(), testkit.MustAuthority(t, target.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		want, verdict := Pass, VerdictOpen
		if !goodbye {
			want, verdict = Fail, VerdictBroken
		}
		if f := findingOf(t, r, "tls-close-notify"); f.Grade != want || r.Verdict.Kind != verdict || r.Tunnel == nil || string(r.Tunnel.Data) != "hello" || !r.TLS[0].Inside {
			t.Errorf("goodbye %v: %s %q, %+v", goodbye, f.Grade, f.Evidence, r.Verdict)
		}
	}
}

// Findings about proxies over HTTP/2.
func TestProbeChecksHTTP2(t *testing.T) {
	answer := func(pairs ...string) func(*h2.Stream) {
		return func(s *h2.Stream) {
			var fields []h2.Field
			for i := 0; i < len(pairs); i += 2 {
				fields = append(fields, h2.Field{Name: pairs[i], Value: pairs[i+1]})
			}
			s.Respond(fields, pairs[1] != "200")
		}
	}
	for _, tt := range []struct {
		name    string
		handle  func(*h2.Stream)
		verdict VerdictKind
		grades  map[string]Grade
	}{
		{"content-length", answer(":status", "200", "content-length", "5"), VerdictOpen, map[string]Grade{"2xx-content-length": Fail, "http2-extended-connect": Skip}},
		{"407 without a challenge", answer(":status", "407"), VerdictCredentials, map[string]Grade{"407-proxy-authenticate": Fail, "http2-refusal": Pass}},
		{"redirect", answer(":status", "302", "location", "http://login.test/"), VerdictCaptivePortal, map[string]Grade{"redirect": Warn}},
		{"going away for a refusal", func(s *h2.Stream) { s.Conn().Shutdown(); answer(":status", "403")(s) }, VerdictDenied, map[string]Grade{"http2-refusal": Warn}},
		{"reset", func(s *h2.Stream) { s.Reset(h2.CodeRefusedStream) }, VerdictHungUp, map[string]Grade{"http2-reply": Fail}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := tunneltest.Start(t, func(conn net.Conn) {
				h2.Server(conn, h2.Config{}, func(s *h2.Stream, _ h2.Head) { tt.handle(s) }).Wait()
			})
			p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, "h2c://"+proxy.Addr())}, Wait: 20 * time.Millisecond}
			r := probeAt(t, p)
			if r.Verdict.Kind != tt.verdict {
				t.Errorf("the verdict is %+v, want %s", r.Verdict, tt.verdict)
			}
			if tt.verdict == VerdictHungUp && !strings.Contains(r.Verdict.Words, "the stream was reset with REFUSED_STREAM") {
				t.Errorf("the verdict is %q", r.Verdict.Words)
			}
			for id, want := range tt.grades {
				if f := findingOf(t, r, id); f.Grade != want {
					t.Errorf("%s: %s %q, want %s", id, f.Grade, f.Evidence, want)
				}
			}
		})
	}
}

// A proxy that should speak HTTP/2 and does not is reported as such, whether it
// ignores ALPN or ends the handshake because of it.
func TestProbeH2WithoutHTTP2(t *testing.T) {
	pair, pool := testkit.CertificateFor(t, "localhost", 500*time.Hour)
	for name, protocols := range map[string][]string{"no ALPN": nil, "another protocol": {"http/1.1"}} {
		proxy := tunneltest.Start(t, func(conn net.Conn) {
			tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: protocols}).Handshake()
			io.Copy(io.Discard, conn)
		})
		_, port, _ := net.SplitHostPort(proxy.Addr())
		route := testkit.MustRoute(t, "h2://localhost:"+port)
		route.Hops[0].TLS = &tunnel.TLSOptions{Roots: pool}
		r := probeAt(t, &Prober{Client: &client.Client{Route: route, Resolver: testkit.ResolveTo("127.0.0.1")}})
		if v := r.Verdict; v.Kind != VerdictTLS || v.ExitCode != tunnel.ExitProxyTLS || v.Hint != "use https://localhost:"+port+", to ask it in HTTP/1.1" {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// What a proxy sends instead of TLS is escaped once.
func TestProbeShowsWhatIsNotTLS(t *testing.T) {
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		conn.Write([]byte("<!DOCTYPE HTML>\n<html>\x1b"))
		conn.Read(make([]byte, 1024))
	})
	f := findingOf(t, probeAt(t, &Prober{Client: clienttest.Proxied(t, "https://"+proxy.Addr()), Wait: testkit.LongWait}), "tls-handshake")
	if want := `"<!DOCTYPE HTML>\n<html>\x1b"`; f.Grade != Fail || !strings.HasSuffix(f.Evidence, want) {
		t.Errorf("%+v, want %s", f, want)
	}
}
