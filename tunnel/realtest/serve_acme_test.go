//go:build unix

package realtest

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// These are a small ACME authority and its name server, of Let's Encrypt's own
// making. They have no Debian package.
const (
	pebbleAuthority = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"
	pebbleNames     = "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@v2.10.1"
)

// A certificate is got from a real ACME authority, by tls-alpn-01 on the https
// listener itself, and kept.
func TestRealACME(t *testing.T) {
	t.Parallel()
	if os.Getenv("CULVERT_REAL") != "1" {
		t.Skip("builds pebble, which may have to be downloaded: set CULVERT_REAL=1")
	}
	dir := t.TempDir()
	authority := issue(t, nil, "the ACME server's authority", tomorrow())
	server := issue(t, authority, "acme", tomorrow())
	dns, api, management, listen := freePort(t), freePort(t), freePort(t), freePort(t)
	// The go command keeps what it builds to run.
	run := []string{"GOFLAGS=", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "go", "run"}
	background(t, "env", append(run, pebbleNames, "-dnsserver", "127.0.0.1:"+dns, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", "127.0.0.1:"+management)...)
	config := write(t, filepath.Join(dir, "pebble.json"), `{"pebble": {"listenAddress": "127.0.0.1:`+api+`", "managementListenAddress": "127.0.0.1:`+freePort(t)+`",
		"certificate": "`+server.cert+`", "privateKey": "`+server.pem+`", "httpPort": 5002, "tlsPort": `+listen+`, "ocspResponderURL": "", "externalAccountBindingRequired": false}}`)
	pebble := background(t, "env", append(run, pebbleAuthority, "-config", config, "-dnsserver", "127.0.0.1:"+dns)...)
	accepts(t, "127.0.0.1:"+api)
	accepts(t, "127.0.0.1:"+management)

	store := filepath.Join(dir, "store")
	serve := func() (*tls.ConnectionState, *lockedBuffer) {
		_, log := serveWith(t, "--listen", "https://127.0.0.1:"+listen, "--acme", "proxy.test", "--acme-dir", store,
			"--acme-url", "https://127.0.0.1:"+api+"/dir", "--acme-ca", authority.cert)
		accepts(t, "127.0.0.1:"+listen)
		conn, err := tls.Dial("tcp", "127.0.0.1:"+listen, &tls.Config{ServerName: "proxy.test", InsecureSkipVerify: true})
		if err != nil {
			t.Fatalf("%v; the authority says:\n%s", err, pebble)
		}
		defer conn.Close()
		state := conn.ConnectionState()
		return &state, log
	}
	state, log := serve()
	leaf := state.PeerCertificates[0]
	if err := leaf.VerifyHostname("proxy.test"); err != nil || !strings.HasPrefix(leaf.Issuer.CommonName, "Pebble") || len(state.PeerCertificates) < 2 {
		t.Errorf("the certificate is for %q, by %s, %v", leaf.DNSNames, leaf.Issuer, err)
	}
	if strings.Contains(log.String(), "acme-tls") || strings.Contains(log.String(), `"level":"WARN"`) {
		t.Errorf("the authority's check is logged as trouble:\n%s", log)
	}
	_, err := tls.Dial("tcp", "127.0.0.1:"+listen, &tls.Config{ServerName: "other.test", InsecureSkipVerify: true})
	if err == nil {
		t.Error("there is a certificate for a name that was not given")
	}
	info, err := os.Stat(store)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of certificates: %v, %v", info.Mode(), err)
	}
	if kept, _ := filepath.Glob(filepath.Join(store, "proxy.test*")); len(kept) == 0 {
		t.Error("nothing was kept")
	}
}
