package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/interception"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/proxy"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// certified is a TLS server that uses the certificate that pick returns for the
// server name.
func certified(pick func(name string) *tls.Certificate) tunneltest.Handler {
	return func(conn net.Conn) {
		server := tls.Server(conn, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if pair := pick(h.ServerName); pair != nil {
				return pair, nil
			}
			return nil, errors.New("no certificate for that")
		}})
		if server.Handshake() == nil {
			_, _ = io.WriteString(server, "hello")
			server.Close()
		}
	}
}

func only(pair tls.Certificate) func(string) *tls.Certificate {
	return func(string) *tls.Certificate { return &pair }
}

// inspecting is a proxy that terminates the TLS of every tunnel itself, with
// certificates that it makes for the name asked for.
func inspecting(t *testing.T, by *testkit.Certifier) *tunneltest.Proxy {
	return tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"),
		tunneltest.Serve(certified(func(name string) *tls.Certificate {
			pair := by.Leaf(time.Minute, testkit.CertificateAge, name)
			return &pair
		})))
}

// probeTLS probes through the proxy, with TLS to localhost at the target's port.
func probeTLS(t *testing.T, proxy, target string, options tunnel.TLSOptions, check *interception.Check) *Report {
	t.Helper()
	_, port, _ := net.SplitHostPort(target)
	p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, "http://"+proxy), TLS: &options}, Wait: testkit.Patience, Interception: check}
	r, err := p.Probe(t.Context(), testkit.MustAuthority(t, "localhost:"+port))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Proxies that inspect TLS and proxies that do not, with clients that trust the
// inspector and clients that do not.
func TestProbeFindsWhoSpeaksTLS(t *testing.T) {
	public, private, inspector := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA"), testkit.NewCertifier(t, "Inspector")
	open := func() string {
		return serveProxy(t, &proxy.Server{Policy: policy.Policy{AllowAddr: []policy.AddrRule{proxytest.MustAddrRule(t, "loopback")}}}, testkit.Listen(t, "127.0.0.1:0")).Addr
	}
	inspected := func() string { return inspecting(t, inspector).Addr() }
	for _, tt := range []struct {
		about    string
		proxy    func() string
		target   *testkit.Certifier
		roots    *x509.CertPool
		insecure bool
		verdict  VerdictKind
		words    string
		exit     int
		middle   interception.Verdict
	}{
		{"public", open, public, public.Pool, false, VerdictOpen, "open, TLS end to end", tunnel.ExitOK, interception.EndToEnd},
		{"private, named", open, private, private.Pool, false, VerdictOpen, "open, TLS end to end", tunnel.ExitOK, interception.EndToEnd},
		{"private", open, private, public.Pool, false, VerdictTLS, "unknown authority", tunnel.ExitProxyTLS, interception.EndToEnd},
		{"private, taken anyhow", open, private, public.Pool, true, VerdictOpen, "open, TLS end to end", tunnel.ExitOK, interception.EndToEnd},
		{"inspected", inspected, public, public.Pool, false, VerdictIntercepted, `intercepted by "Inspector"`, tunnel.ExitProxyTLS, interception.Intercepted},
		{"inspected, and trusted", inspected, public, inspector.Pool, false, VerdictIntercepted, `intercepted by "Inspector"`, tunnel.ExitProxyTLS, interception.Intercepted},
		{"inspected, private", inspected, private, private.Pool, false, VerdictIntercepted, `intercepted by "Inspector"`, tunnel.ExitProxyTLS, interception.Intercepted},
	} {
		t.Run(tt.about, func(t *testing.T) {
			target := tunneltest.Start(t, certified(only(tt.target.Old("localhost"))))
			check := &interception.Check{Public: public.Pool, Unrelated: []tunnel.Authority{}, Patience: testkit.Patience}
			r := probeTLS(t, tt.proxy(), target.Addr(), tunnel.TLSOptions{Roots: tt.roots, Insecure: tt.insecure}, check)
			if r.Verdict.Kind != tt.verdict || r.Verdict.ExitCode != tt.exit || !strings.Contains(r.Verdict.Words, tt.words) {
				t.Errorf("the verdict is %+v, want %s with %q and exit %d", r.Verdict, tt.verdict, tt.words, tt.exit)
			}
			if r.Interception == nil || r.Interception.Verdict != tt.middle {
				t.Fatalf("%+v, want %s", r.Interception, tt.middle)
			}
			var text, document bytes.Buffer
			if err := errors.Join(r.WriteText(&text, terminal.Style{}), r.WriteJSON(&document)); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text.String(), "so: "+string(tt.middle)) || !strings.HasSuffix(text.String(), "verdict: "+r.Verdict.Words+"\n") {
				t.Errorf("%s", &text)
			}
			var again Report
			if err := json.Unmarshal(document.Bytes(), &again); err != nil || len(again.Interception.Evidence) != len(r.Interception.Evidence) {
				t.Errorf("%v in %s", err, &document)
			}
		})
	}
}

// An inspecting proxy makes certificates for unrelated names, too.
func TestProbeComparesUnrelatedNames(t *testing.T) {
	public, inspector := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Inspector")
	proxy := inspecting(t, inspector)
	check := &interception.Check{NoDirect: true, Public: public.Pool, Patience: testkit.Patience,
		Unrelated: []tunnel.Authority{testkit.MustAuthority(t, "a.test:443"), testkit.MustAuthority(t, "b.test:8443")}}
	r := probeTLS(t, proxy.Addr(), "127.0.0.1:443", tunnel.TLSOptions{}, check)
	if r.Verdict.Kind != VerdictIntercepted {
		t.Errorf("%+v", r.Verdict)
	}
	var all strings.Builder
	for _, e := range r.Interception.Evidence {
		all.WriteString(e.ID + ": " + e.Text + "\n")
	}
	for _, want := range []string{"unrelated-names: who made the certificate makes that of a.test and b.test too", "nonexistent-host: who made", "invented-name: asked for"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %q in\n%s", want, &all)
		}
	}
	asked := strings.Join(proxy.Heads(), "")
	for _, want := range []string{"CONNECT localhost:443 ", "CONNECT a.test:443 ", "CONNECT b.test:8443 ", ".invalid:443 "} {
		if !strings.Contains(asked, want) {
			t.Errorf("the proxy was not asked for %q:\n%s", want, asked)
		}
	}
	if n := strings.Count(asked, "CONNECT "); n != 5 {
		t.Errorf("%d tunnels, want those with the target, two unrelated names, one that cannot exist, and the target by a name that cannot", n)
	}
}

// A proxy that inspects the target alone is found by the certificate that the
// target shows directly, if that is trusted.
func TestProbeFindsWhoInspectsTheTargetOnly(t *testing.T) {
	public, private, inspector := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA"), testkit.NewCertifier(t, "Inspector")
	target, made := tunneltest.Start(t, certified(only(private.Old("localhost")))), inspector.Old("localhost")
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(certified(func(name string) *tls.Certificate {
		if name == "localhost" {
			return &made
		}
		return nil
	})))
	check := &interception.Check{Public: public.Pool, Unrelated: []tunnel.Authority{testkit.MustAuthority(t, "a.test:443")}, Patience: testkit.Patience}
	for _, tt := range []struct {
		roots *x509.CertPool
		want  interception.Verdict
	}{{private.Pool, interception.Intercepted}, {public.Pool, interception.Unknown}} {
		r := probeTLS(t, proxy.Addr(), target.Addr(), tunnel.TLSOptions{Roots: tt.roots}, check)
		if r.Interception.Verdict != tt.want {
			t.Errorf("%+v, want %s", r.Interception, tt.want)
		}
	}
}

// If a public authority vouches for the certificate, no other peer is asked.
func TestProbeAsksNobodyElseForPublicCertificates(t *testing.T) {
	public := testkit.NewCertifier(t, "Public CA")
	target := tunneltest.Start(t, certified(only(public.Old("localhost"))))
	proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
	r := probeTLS(t, proxy.Addr(), target.Addr(), tunnel.TLSOptions{Roots: public.Pool}, &interception.Check{Public: public.Pool, NoDirect: true})
	if heads := proxy.Heads(); len(heads) != 1 || r.Interception.Verdict != interception.EndToEnd {
		t.Errorf("%s after %q", r.Interception.Verdict, heads)
	}
}

// The further tunnels log in like the first one. The direct handshake sends the
// proxy's credentials to nobody.
func TestInterceptionCheckLogsIn(t *testing.T) {
	public, private := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA")
	target := tunneltest.Start(t, certified(only(private.Old("localhost"))))
	ts := serveProxy(t, &proxy.Server{Policy: policy.Policy{AllowAddr: []policy.AddrRule{proxytest.MustAddrRule(t, "loopback")}}, Verifier: proxytest.OneUser{User: "ada", Password: "s3cret"}}, testkit.Listen(t, "127.0.0.1:0"))
	p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, "http://ada:s3cret@"+ts.Addr), TLS: &tunnel.TLSOptions{Insecure: true}}, Wait: testkit.Patience,
		Interception: &interception.Check{Public: public.Pool, Unrelated: []tunnel.Authority{testkit.MustAuthority(t, "localhost:"+target.Port())}, NoDirect: true, Patience: testkit.Patience}}
	r, err := p.Probe(t.Context(), testkit.MustAuthority(t, "127.0.0.1:"+target.Port()))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	_ = r.WriteText(&text, terminal.Style{})
	if !strings.Contains(text.String(), "who made the certificate makes that of localhost too") {
		t.Errorf("the further tunnels were not opened:\n%s", &text)
	}
	for _, secret := range []string{"s3cret", base64.StdEncoding.EncodeToString([]byte("ada:s3cret"))} {
		if strings.Contains(text.String(), secret) {
			t.Errorf("%q is shown", secret)
		}
	}
}

// A proxy that stalls the further tunnels delays nobody for longer than the check's
// patience.
func TestInterceptionCheckIsPatientWithinBounds(t *testing.T) {
	public, private := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA")
	target := tunneltest.Start(t, certified(only(private.Old("localhost"))))
	var conns atomic.Int32
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		if conns.Add(1) > 1 {
			tunneltest.Silent(conn)
			return
		}
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		upstream, err := net.Dial("tcp", "127.0.0.1:"+request.URL.Port())
		if err != nil {
			return
		}
		defer upstream.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(upstream, conn) }()
		_, _ = io.Copy(conn, upstream)
	})
	check := &interception.Check{Public: public.Pool, NoDirect: true, Unrelated: []tunnel.Authority{testkit.MustAuthority(t, "a.test:443")}, Patience: 50 * time.Millisecond}
	r := probeTLS(t, proxy.Addr(), target.Addr(), tunnel.TLSOptions{Insecure: true}, check)
	if r.Interception == nil || r.Interception.Verdict != interception.Unknown || r.Verdict.Words != "open, cannot tell whether TLS is end to end" {
		t.Errorf("%+v, %+v", r.Verdict, r.Interception)
	}
}

// A probe that is cancelled returns no report, at whatever step.
func TestInterceptionCheckIsCancelled(t *testing.T) {
	public, private := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA")
	ctx, cancel := context.WithCancel(t.Context())
	target := tunneltest.Start(t, certified(func(name string) *tls.Certificate {
		if strings.HasSuffix(name, ".invalid") {
			cancel()
			return nil
		}
		pair := private.Old("localhost")
		return &pair
	}))
	proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
	p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, "http://"+proxy.Addr()), TLS: &tunnel.TLSOptions{Insecure: true}}, Wait: testkit.Patience,
		Interception: &interception.Check{Public: public.Pool, NoDirect: true, Unrelated: []tunnel.Authority{}, Patience: testkit.Patience}}
	if r, err := p.Probe(ctx, testkit.MustAuthority(t, "localhost:"+target.Port())); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", r, err)
	}
}

// If no certificate came there is no result.
func TestNoInterceptionWithoutCertificate(t *testing.T) {
	for about, target := range map[string]tunneltest.Handler{
		"no TLS": tunneltest.Say("SSH-2.0-x\r\n"), "mute": tunneltest.Count, "no certificate": certified(func(string) *tls.Certificate { return nil }),
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			s := tunneltest.Start(t, target)
			proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
			p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, "http://"+proxy.Addr()), TLS: &tunnel.TLSOptions{}, Timeout: time.Second}, Interception: &interception.Check{}}
			r, err := p.Probe(t.Context(), testkit.MustAuthority(t, s.Addr()))
			if err != nil || r.Interception != nil || r.Verdict.ExitCode == tunnel.ExitOK {
				t.Errorf("%+v, %v, %+v", r.Interception, err, r.Verdict)
			}
		})
	}
}
