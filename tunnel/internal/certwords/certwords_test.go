package certwords

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestCertificate(t *testing.T) {
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "a\x1b[31m"}, NotBefore: noon,
		NotAfter: time.Date(2026, 4, 1, 1, 0, 0, 0, time.FixedZone("", 2*60*60)),
	}
	if got, want := Certificate(c), `subject CN=a\x1b[31m, issuer none, valid from 2026-03-01 to 2026-03-31`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Subject(strings.Repeat("x", 1000)); len(got) > 130 {
		t.Errorf("%d characters of a subject", len(got))
	}
}

func TestHosts(t *testing.T) {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "not.this"}, DNSNames: []string{"a.example", "b\r.example"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.1")}}
	if got, want := List(Hosts(c)), `a.example, b\r.example, 192.0.2.1`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := List(Hosts(&x509.Certificate{})), "no host at all"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	hosts := []string{"a", "b", "c", "d", "e", "f", "g"}
	if got, want := List(hosts), "a, b, c, d, e, 2 more"; got != want || hosts[5] != "f" {
		t.Errorf("%q, want %q; the list is then %q", got, want, hosts)
	}
	if got, want := List(hosts[:5]), "a, b, c, d, e"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDays(t *testing.T) {
	for _, tt := range []struct {
		left time.Duration
		want string
	}{
		{49 * time.Hour, "2 days left"},
		{25 * time.Hour, "1 day left"},
		{time.Hour, "0 days left"},
		{-time.Second, "expired 1 days ago"},
		{-25 * time.Hour, "expired 2 days ago"},
	} {
		if got := Days(DaysLeft(&x509.Certificate{NotAfter: noon.Add(tt.left)}, noon)); got != tt.want {
			t.Errorf("%v left: %q, want %q", tt.left, got, tt.want)
		}
	}
}

func TestCauseAndALPN(t *testing.T) {
	if got, want := Cause(errors.New("x509: a\nb")), `a\nb`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := ALPN("h2")+", "+ALPN(""), "ALPN h2, no ALPN"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
