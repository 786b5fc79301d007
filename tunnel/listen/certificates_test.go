package listen

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

// Certificate files that the user should be warned about have a note.
func TestCertificateFilesNotes(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name  string
		valid time.Duration
		mode  os.FileMode
		want  string
	}{
		{"all well", 30 * day, 0o600, ""},
		{"for a group", 30 * day, 0o640, ""},
		{"for anyone", 30 * day, 0o644, "can be read by other users of this machine (mode 0644): chmod 600 "},
		{"expired", -day, 0o600, "expired on "},
		{"too early", 5000*time.Hour + day, 0o600, "is not valid before "},
	} {
		if tt.mode == 0o644 && runtime.GOOS == "windows" {
			continue
		}
		pair, _ := testkit.CertificateFor(t, "proxy.test", tt.valid)
		cert, key := pemFiles(t, pair)
		if err := os.Chmod(key, tt.mode); err != nil {
			t.Fatal(err)
		}
		files, err := loadCertificateFiles(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		notes := files.Notes()
		if tt.want == "" && len(notes) > 0 || tt.want != "" && (len(notes) != 1 || !strings.Contains(notes[0], tt.want)) {
			t.Errorf("%s: the notes are %q, want %q", tt.name, notes, tt.want)
		}
	}
}

// Certificates and keys are read behind a byte order mark, and in UTF-16.
func TestCertificateFilesOfWindowsEditors(t *testing.T) {
	pair, _ := testkit.CertificateFor(t, "proxy.test", time.Hour)
	for name, save := range map[string]func(text []byte) []byte{
		"a mark": func(text []byte) []byte { return append([]byte("\xef\xbb\xbf"), text...) },
		"UTF-16": func(text []byte) []byte {
			wide := []byte("\xff\xfe")
			for _, c := range text {
				wide = append(wide, c, 0)
			}
			return wide
		},
	} {
		cert, key := pemFiles(t, pair)
		for _, path := range []string{cert, key} {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, save(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := loadCertificateFiles(cert, key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := loadClientCA(cert); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tunnel.ReadRoots(cert); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := tunnel.ReadCertificate(cert, key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// pemFiles writes a certificate and its key to files.
func pemFiles(t *testing.T, pair tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestSelfSignedNames(t *testing.T) {
	pair, pin, err := SelfSigned("proxy.test", "192.0.2.1", "127.0.0.1", "0.0.0.0", "::", "", "not a name")
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "proxy.test", "192.0.2.1"} {
		if err := pair.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if slices.Contains(pair.Leaf.DNSNames, "not a name") || len(pair.Leaf.IPAddresses) != 3 {
		t.Errorf("it is for %q and %v", pair.Leaf.DNSNames, pair.Leaf.IPAddresses)
	}
	if _, other, _ := SelfSigned(); pin == other || len(pin) != len("sha256//")+44 {
		t.Errorf("the pins are %s and %s", pin, other)
	}
}

// A name for which no certificate can be had is an error at once, not at every
// handshake.
func TestACMEName(t *testing.T) {
	for host, want := range map[string]string{
		"proxy.example.com": "proxy.example.com", "Proxy.Example.COM.": "proxy.example.com", "bücher.example": "xn--bcher-kva.example",
		"": "", "proxy": "", "localhost": "", "192.0.2.1": "", "2001:db8::1": "", "*.example.com": "", "a b.example": "", "proxy.example.com:443": "",
	} {
		if got, err := acmeName(host); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is asked for as %q, %v; want %q", host, got, err, want)
		}
	}
}

// handshake connects to l and returns the client's side, and whether the server has
// verified its certificate.
func handshake(t *testing.T, l net.Listener, config *tls.Config) (conn *tls.Conn, verified bool) {
	t.Helper()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		if c := conn.(*Conn); c.Handshake() == nil {
			fmt.Fprint(c, len(c.ConnectionState().VerifiedChains))
		}
	}()
	conn = tls.Client(testkit.Dial(t, "tcp", l.Addr().String()), config)
	said := make([]byte, 1)
	if _, err := conn.Read(said); err != nil {
		t.Fatal(err)
	}
	return conn, said[0] != '0'
}

// A certificate and the authorities of client certificates that are read again count for
// the next handshake; those that cannot be used leave what was there. A session of before
// does not bring back a client whose authority was removed.
func TestTLSReload(t *testing.T) {
	old, next := testkit.NewCertifier(t, "old"), testkit.NewCertifier(t, "new")
	pair, _ := testkit.CertificateFor(t, "proxy.test", time.Hour)
	cert, key := pemFiles(t, pair)
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	write := func(path string, text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pemOf := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	write(authorities, pemOf(old.Cert.Raw))
	secure, err := Options{CertFile: cert, KeyFile: key, ClientCAFile: authorities}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	l := secure.Listen(testkit.Listen(t, "127.0.0.1:0"))
	if !VerifiesClients(l) || secure.CertFile() != cert || secure.ClientCAFile() != authorities {
		t.Fatalf("%s, %s", secure.CertFile(), secure.ClientCAFile())
	}
	config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		Certificates: []tls.Certificate{old.Leaf(time.Hour, time.Hour, "ada")}}
	for range 2 {
		conn, verified := handshake(t, l, config)
		if !verified {
			t.Error("the client is not verified")
		}
		conn.Close()
	}

	write(authorities, []byte("-----BEGIN CERT"))
	if err := secure.ReloadClientCA(); err == nil {
		t.Error("damaged authorities were read")
	}
	if conn, verified := handshake(t, l, config); !verified || !conn.ConnectionState().DidResume {
		t.Errorf("after damage the client is verified: %v", verified)
	}
	write(authorities, pemOf(next.Cert.Raw))
	if err := secure.ReloadClientCA(); err != nil {
		t.Fatal(err)
	}
	if _, verified := handshake(t, l, config); verified {
		t.Error("a client of the authority of before is verified")
	}
	if _, verified := handshake(t, l, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{next.Leaf(time.Hour, time.Hour, "eve")}}); !verified {
		t.Error("a client of the new authority is not verified")
	}

	other, _ := testkit.CertificateFor(t, "other.test", 2*time.Hour)
	write(cert, pemOf(other.Certificate[0])) // without its key
	if _, err := secure.ReloadCertificate(); err == nil {
		t.Error("a certificate without its key was read")
	}
	shown := func() string {
		conn, _ := handshake(t, l, &tls.Config{InsecureSkipVerify: true})
		return strings.Join(conn.ConnectionState().PeerCertificates[0].DNSNames, " ")
	}
	if got := shown(); got != "proxy.test" {
		t.Errorf("after damage the certificate is for %s", got)
	}
	otherCert, otherKey := pemFiles(t, other)
	for to, from := range map[string]string{cert: otherCert, key: otherKey} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if until, err := secure.ReloadCertificate(); err != nil || time.Until(until) < time.Hour {
		t.Errorf("until %v, %v", until, err)
	}
	if got := shown(); got != "other.test" {
		t.Errorf("the certificate is for %s", got)
	}
}
