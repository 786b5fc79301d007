package probe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/interception"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// Content that ends in the middle of a password shows no part of it.
func TestContentCutOffInASecret(t *testing.T) {
	const kept = 16 << 10 // bytes of a refusal's content
	content := strings.Repeat("a", kept-9) + hostileSecret
	proxy := tunneltest.StartProxy(t, testkit.HangUp("HTTP/1.1 403 No\r\n\r\n"+content)...)
	r := probeHostile(t, hostileProber(t, "http://ada:"+hostileSecret+"@"+proxy.Addr(), false))
	if got := string(r.Exchanges[0].Content); !strings.HasSuffix(got, "aa***") {
		t.Errorf("it ends in %q", got[len(got)-20:])
	}
}

// Masking the bytes that came together with the reply loses none of the later ones.
func TestMaskedGluedBytesLoseNoOthers(t *testing.T) {
	for _, tt := range []struct{ glued, later, want string }{
		{"SSH-" + hostileSecret + "-x", "later on", "SSH-***-xlater on"},
		{"SSH-hunter2", "hunter2 later on", "SSH-*** later on"},
	} {
		first := make(chan struct{})
		proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply200+"\r\n"+tt.glued), tunneltest.Wait(first), tunneltest.Send(tt.later), tunneltest.Finish)
		p := hostileProber(t, "http://ada:"+hostileSecret+"@"+proxy.Addr(), false)
		p.Wait = testkit.LongWait
		p.Client.Trace = &client.Trace{Exchanged: func(*client.Exchange) { close(first) }}
		r := probeAt(t, p)
		var raw bytes.Buffer
		r.WriteRaw(&raw)
		if want := reply200 + "\r\n" + tt.want; raw.String() != want || string(r.Tunnel.Data) != tt.want {
			t.Errorf("%q, %q; want %q", &raw, r.Tunnel.Data, want)
		}
		wantHarmlessForms(t, r)
	}
}

// hostileCertificate has the attacker's text in each field.
func hostileCertificate(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// many returns the names of a certificate.
func many(n int, name string) (names []string) {
	for range n {
		names = append(names, name)
	}
	return names
}

// Whatever the certificates of the target and the proxy contain, the interception
// check ends, and its text is harmless.
func TestHostileCertificates(t *testing.T) {
	utf := strings.ToValidUTF8(nasty, "?") // package x509 makes no other names
	for _, tt := range []struct {
		name     string
		template x509.Certificate
		chain    int    // copies of the certificate to add to the chain
		from, to string // a change of its bytes
	}{
		{"escapes", x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: utf, Organization: []string{utf}, Country: []string{utf}}, DNSNames: []string{"a\x1b[2J.test"}}, 0, "", ""},
		{"no UTF-8", x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sub*ject"}}, 0, "sub*ject", "sub\xffj\x1b["},
		{"escapes in a printable string", x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "subject"}}, 0, "subject", "\x1b]0;x\x07z"},
		{"latin-1", x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "subject"}}, 0, "\x13\x07subject", "\x14\x07\x9b2J\x1b[2J"},
		{"a key of no known type", x509.Certificate{SerialNumber: big.NewInt(1)}, 0, "\x2a\x86\x48\xce\x3d\x02\x01", "\x2a\x86\x48\xce\x3d\x02\x7f"},
		{"a negative serial", x509.Certificate{SerialNumber: big.NewInt(1)}, 0, "\x02\x01\x02\x02\x01\x01", "\x02\x01\x02\x02\x01\x81"},
		{"credentials", x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hostileSecret}, DNSNames: []string{hostileSecret, "ad." + hostileSecret}}, 0, "", ""},
		{"large subject", x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strings.Repeat("a\u202e", 50000)}}, 0, "", ""},
		{"too large", x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strings.Repeat("a", 1<<20)}}, 0, "", ""},
		{"many names", x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: many(10000, "a.test"), IPAddresses: []net.IP{net.IPv6loopback}}, 0, "", ""},
		{"a name of names", x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{strings.Repeat("a", 100000)}}, 0, "", ""},
		{"no name", x509.Certificate{SerialNumber: big.NewInt(1)}, 0, "", ""},
		{"long chain", x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: utf}}, 500, "", ""},
		{"expired", x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)}, 0, "", ""},
		{"far away", x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Date(9990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}, 0, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.template.NotAfter.IsZero() {
				tt.template.NotAfter = time.Now().Add(time.Hour)
			}
			pair := hostileCertificate(t, &tt.template)
			if tt.from != "" {
				if !bytes.Contains(pair.Certificate[0], []byte(tt.from)) {
					t.Fatalf("%q is not in %q", tt.from, pair.Certificate[0])
				}
				pair.Certificate[0] = bytes.ReplaceAll(pair.Certificate[0], []byte(tt.from), []byte(tt.to))
			}
			for range tt.chain {
				pair.Certificate = append(pair.Certificate, pair.Certificate[0])
			}
			config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"x\x1b]0;"}}
			proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply200+"\r\n"), tunneltest.Serve(func(conn net.Conn) { tls.Server(conn, config).Handshake() }))
			p := hostileProber(t, "http://ada:"+hostileSecret+"@"+proxy.Addr(), false)
			p.Client.TLS = &tunnel.TLSOptions{Protocols: []string{"x\x1b]0;"}}
			p.Interception = &interception.Check{NoDirect: true, Patience: 40 * testkit.BriefWait}
			if r := probeHostile(t, p); r.Verdict.Kind != VerdictTLS && r.Verdict.Kind != VerdictIntercepted {
				t.Errorf("%+v", r.Verdict)
			}
			secure := tunneltest.Start(t, func(conn net.Conn) { tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake() })
			if r := probeHostile(t, hostileProber(t, "https://ada:"+hostileSecret+"@"+secure.Addr(), false)); r.Verdict.Kind != VerdictTLS {
				t.Errorf("%+v", r.Verdict)
			}
		})
	}
}
