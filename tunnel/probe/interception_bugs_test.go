package probe

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/interception"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// Regression tests for the interception check.

// If TLS failed for another reason than the certificate's authority, the hint is
// about that reason.
func TestUnknownVerdictKeepsTheFailuresHint(t *testing.T) {
	private := testkit.NewCertifier(t, "Private CA")
	wants := func(conn net.Conn) {
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{private.Old("localhost")}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12})
		_ = server.Handshake()
		server.Close()
	}
	target, proxy := tunneltest.Start(t, wants), tunneltest.StartProxy(t, tunneltest.Honest()...)
	check := &interception.Check{NoDirect: true, Unrelated: []tunnel.Authority{}, Patience: testkit.Patience}
	r := probeTLS(t, proxy.Addr(), target.Addr(), tunnel.TLSOptions{Insecure: true}, check)
	if r.Interception == nil || r.Interception.Verdict != interception.Unknown || !strings.Contains(r.Verdict.Hint, "culvert has no certificate for targets") {
		t.Errorf("%+v, %+v", r.Verdict, r.Interception)
	}
}

// The target is not compared with itself under another name.
func TestTargetIsNotComparedWithItself(t *testing.T) {
	public, private := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA")
	target := tunneltest.Start(t, certified(only(private.Old("localhost"))))
	proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
	check := &interception.Check{NoDirect: true, Public: public.Pool, Patience: testkit.Patience,
		Unrelated: []tunnel.Authority{testkit.MustAuthority(t, "localhost:"+target.Port()), testkit.MustAuthority(t, "127.0.0.1:"+target.Port())}}
	for name, want := range map[string]string{"": "127.0.0.1", "127.0.0.1": ""} {
		r := probeTLS(t, proxy.Addr(), target.Addr(), tunnel.TLSOptions{Insecure: true, ServerName: name}, check)
		i := slices.IndexFunc(r.Interception.Evidence, func(e interception.Evidence) bool { return e.ID == "unrelated-names" })
		if (i >= 0) != (want != "") || i >= 0 && !strings.HasSuffix(r.Interception.Evidence[i].Text, " of "+want+" too") {
			t.Errorf("by the name %q: %+v, want one about %q", name, r.Interception.Evidence, want)
		}
	}
}

// There are no times of the last proxy if the route has others, SOCKS proxies
// included.
func TestInterceptionTimesAreOfTheOneProxy(t *testing.T) {
	public := testkit.NewCertifier(t, "Public CA")
	target := tunneltest.Start(t, certified(only(public.Old("localhost"))))
	proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
	first := testkit.SOCKSThen(t, testkit.SOCKSRequest+testkit.SOCKSSucceeded, tunneltest.Honest()...)
	for route, want := range map[string]bool{"http://" + proxy.Addr(): true, "socks5h://" + first.Addr() + ",http://b.example:3128": false} {
		p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, strings.Split(route, ",")...), TLS: &tunnel.TLSOptions{Insecure: true}}, Wait: testkit.Patience,
			Interception: &interception.Check{NoDirect: true, Public: public.Pool, Patience: testkit.Patience}}
		r, err := p.Probe(t.Context(), testkit.MustAuthority(t, "localhost:"+target.Port()))
		if err != nil || r.Interception == nil {
			t.Fatalf("%+v, %v", r, err)
		}
		if got := slices.ContainsFunc(r.Interception.Evidence, func(e interception.Evidence) bool { return e.ID == "timing" }); got != want {
			t.Errorf("over %s times are weighed: %t, want %t: %+v", route, got, want, r.Interception.Evidence)
		}
	}
}

// A certificate from an authority that the user named counts as such even if it has
// expired.
func TestExpiredCertificateOfNamedAuthority(t *testing.T) {
	public, private := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA")
	target := tunneltest.Start(t, certified(only(private.Leaf(testkit.CertificateAge, -time.Hour, "localhost"))))
	proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
	check := &interception.Check{NoDirect: true, Public: public.Pool, Unrelated: []tunnel.Authority{}, Patience: testkit.Patience}
	for roots, want := range map[*testkit.Certifier]interception.Verdict{private: interception.EndToEnd, public: interception.Unknown} {
		r := probeTLS(t, proxy.Addr(), target.Addr(), tunnel.TLSOptions{Roots: roots.Pool}, check)
		if r.Interception.Verdict != want || !strings.Contains(r.Verdict.Words, "expired on") {
			t.Errorf("%+v, %+v, want %s", r.Verdict, r.Interception, want)
		}
	}
}

// The bound is that of the direct way, on which nobody answers here.
func TestClosedDirectWayIsAbandonedSoon(t *testing.T) {
	t.Parallel()
	public := testkit.NewCertifier(t, "Public CA")
	mute := tunneltest.Start(t, tunneltest.Silent)
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(certified(only(public.Old("localhost")))))
	began := time.Now()
	r := probeTLS(t, proxy.Addr(), mute.Addr(), tunnel.TLSOptions{Roots: public.Pool}, &interception.Check{Public: public.Pool, Patience: time.Minute})
	if took := time.Since(began); took > 30*time.Second || r.Interception.Verdict != interception.EndToEnd {
		t.Errorf("after %v: %+v", took, r.Interception)
	}
}

// under makes an authority that another one certified.
func under(by *testkit.Certifier, name string) *testkit.Certifier {
	c := testkit.NewCertifier(by.TB, name)
	template := *c.Cert
	template.SerialNumber, template.SubjectKeyId = big.NewInt(2), nil
	der, err := x509.CreateCertificate(rand.Reader, &template, by.Cert, c.Key.Public(), by.Key)
	if err != nil {
		by.Fatal(err)
	}
	c.Cert, _ = x509.ParseCertificate(der)
	return c
}

// A server that forgets to send its intermediate certificate is not taken for an
// interceptor if another peer sends that certificate.
func TestForgottenIntermediateIsNoInterceptor(t *testing.T) {
	public := testkit.NewCertifier(t, "Public CA")
	between := under(public, "Public Intermediate")
	whole := between.Old("localhost")
	whole.Certificate = append(whole.Certificate, between.Cert.Raw)
	target := tunneltest.Start(t, certified(only(whole)))
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(certified(only(between.Old("localhost")))))
	r := probeTLS(t, proxy.Addr(), target.Addr(), tunnel.TLSOptions{Roots: public.Pool}, &interception.Check{Public: public.Pool, Unrelated: []tunnel.Authority{}, Patience: testkit.Patience})
	if r.Interception.Verdict != interception.EndToEnd || !strings.Contains(r.Interception.Evidence[0].Text, "forgot to send") || r.Verdict.Kind != VerdictTLS {
		t.Errorf("%+v, %+v", r.Verdict, r.Interception)
	}
}

// A tunnel that is cut off after TLS with an interceptor gets the same exit code as
// one that is not.
func TestInterceptedAndBrokenIsIntercepted(t *testing.T) {
	public, inspector := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Inspector")
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(func(conn net.Conn) {
		server := tls.Server(conn, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair := inspector.Old(h.ServerName)
			return &pair, nil
		}})
		_ = server.Handshake()
		conn.Close()
	}))
	check := &interception.Check{NoDirect: true, Public: public.Pool, Unrelated: []tunnel.Authority{}, Patience: testkit.Patience}
	v := probeTLS(t, proxy.Addr(), "localhost:443", tunnel.TLSOptions{Insecure: true}, check).Verdict
	if v.Kind != VerdictIntercepted || v.ExitCode != tunnel.ExitProxyTLS || v.Phase != tunnel.PhaseTLS || !strings.Contains(v.Words, "and broken") {
		t.Errorf("%+v", v)
	}
}
