package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/listen"

	"golang.org/x/crypto/acme"
)

// On a listener that anyone can reach, client certificates replace passwords only if they
// are verified.
func TestCheckExposureOverTLS(t *testing.T) {
	for auth, open := range map[tls.ClientAuthType]bool{
		tls.NoClientCert: true, tls.RequestClientCert: true, tls.RequireAnyClientCert: true,
		tls.VerifyClientCertIfGiven: false, tls.RequireAndVerifyClientCert: false,
	} {
		inner := &proxytest.FakeListener{At: &net.TCPAddr{IP: net.IPv6unspecified, Port: 1}}
		err := new(Server).CheckExposure(listen.NewTLS(inner, &tls.Config{ClientAuth: auth}))
		if (err != nil) != open || open && !strings.Contains(err.Error(), "https://[::]:1") {
			t.Errorf("%v: %v", auth, err)
		}
	}
}

// A certificate of another authority is no user, whatever name it has: the handshake
// fails, and the record says why. A client without a certificate is told over HTTP that
// one is required.
func TestClientCertificateOfAnotherAuthority(t *testing.T) {
	own, _ := testkit.CertificateFor(t, "proxy.test", time.Hour)
	ada, pool := testkit.CertificateFor(t, "ada.test", time.Hour)
	mallory, _ := testkit.CertificateFor(t, "ada.test", time.Hour)
	ts := startServerOn(t, &Server{}, listen.NewTLS(testkit.Listen(t, "127.0.0.1:0"),
		&tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}))
	ask := func(shown tls.Certificate) (string, error) {
		// Not by Certificates: the client would not send one of another authority.
		conn := tls.Client(ts.Dial(), &tls.Config{InsecureSkipVerify: true,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }})
		if _, err := conn.Write([]byte("GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")); err != nil {
			return "", err
		}
		reply := make([]byte, 12)
		n, err := conn.Read(reply)
		return string(reply[:n]), err
	}
	if reply, err := ask(mallory); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("another authority's certificate: %q, %v", reply, err)
	}
	r := ts.AccessLog.Next(t, accesslog.EventRequest)
	if detail, _ := r["detail"].(string); r["error"] != tunnel.ErrorTLSCertificate.String() || !strings.Contains(detail, "CN=ada.test, issued by CN=authority: certificate signed by unknown authority") || r["user"] != nil {
		t.Errorf("its record is %v", r)
	}
	if reply, err := ask(tls.Certificate{}); reply != "HTTP/1.1 403" {
		t.Errorf("no certificate: %q, %v", reply, err)
	}
	if r := ts.AccessLog.Next(t, accesslog.EventRequest); r["status"] != 403.0 {
		t.Errorf("its record is %v", r)
	}
	if reply, err := ask(ada); !strings.HasPrefix(reply, "HTTP/1.1 50") {
		t.Errorf("the right certificate: %q, %v", reply, err)
	}
	if r := ts.AccessLog.Next(t, accesslog.EventRequest); r["user"] != "ada.test" {
		t.Errorf("its record is %v", r)
	}
}

// An ACME authority's check comes from any address and ends with the handshake: it is
// neither refused nor logged as a client. On a listener without ACME, no client can
// negotiate its protocol.
func TestACMECheckIsNoClient(t *testing.T) {
	pair, _ := testkit.CertificateFor(t, "proxy.test", time.Hour)
	for _, tt := range []struct {
		protocols []string
		checked   bool
	}{{[]string{acme.ALPNProto}, true}, {nil, false}} {
		ts := startServerOn(t, &Server{AllowClient: networks("192.0.2.0/24")}, listen.NewTLS(testkit.Listen(t, "127.0.0.1:0"),
			&tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: tt.protocols}))
		shake := func(protocol string) error {
			conn := tls.Client(ts.Dial(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
			if err := conn.Handshake(); err != nil {
				return err
			}
			_, err := conn.Read(make([]byte, 1)) // until the connection ends
			if err != nil && err.Error() == "EOF" {
				return nil
			}
			return err
		}
		err := shake(acme.ALPNProto)
		if (err == nil) != tt.checked {
			t.Fatalf("with the protocols %q: %v", tt.protocols, err)
		}
		if !tt.checked {
			continue
		}
		shake(tunnel.ALPNHTTP1)
		if r := ts.AccessLog.Next(t, accesslog.EventRequest); r["status"] != 403.0 || strings.Count(ts.AccessLog.String(), "\n") != 1 {
			t.Errorf("the log is\n%s", ts.AccessLog)
		}
	}
}

func TestCertificateUser(t *testing.T) {
	uri := &url.URL{Scheme: "spiffe", Host: "example.com", Path: "/ada"}
	for _, tt := range []struct {
		name string
		leaf x509.Certificate
		want string
	}{
		{"common name", x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, EmailAddresses: []string{"a@example.com"}}, "ada"},
		{"mail address", x509.Certificate{EmailAddresses: []string{"a@example.com"}, DNSNames: []string{"a.example.com"}}, "a@example.com"},
		{"DNS name", x509.Certificate{DNSNames: []string{"a.example.com"}, URIs: []*url.URL{uri}}, "a.example.com"},
		{"URI", x509.Certificate{URIs: []*url.URL{uri}}, "spiffe://example.com/ada"},
		{"serial number", x509.Certificate{SerialNumber: big.NewInt(0xbeef)}, "serial:beef"},
	} {
		shown := []*x509.Certificate{&tt.leaf}
		state := tls.ConnectionState{PeerCertificates: shown}
		if got := certificateUser(state); got != "" {
			t.Errorf("%s: one that was not verified makes %q", tt.name, got)
		}
		state.VerifiedChains = [][]*x509.Certificate{shown}
		if got := certificateUser(state); got != tt.want {
			t.Errorf("%s makes %q, want %q", tt.name, got, tt.want)
		}
	}
}
