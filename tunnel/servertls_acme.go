package tunnel

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACME says from whom a Server gets its certificates, and for which names (RFC
// 8555). The authority checks by a handshake with the https listener itself
// (tls-alpn-01, RFC 8737), which must be what the names' port 443 leads to.
type ACME struct {
	Hosts     []string // names that certificates are asked for
	Dir       string   // where they are kept, made with mode 0700; "" = below the user's cache
	URL       string   // the authority's directory; "" = Let's Encrypt's
	RootsFile string   // authorities of its server's certificate, PEM; "" = the system's
}

// config returns how handshakes get their certificates: the first one for a name
// waits for it, and it is renewed a month before its end.
func (a ACME) config() (*tls.Config, error) {
	manager := &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(a.Hosts...),
		Client: &acme.Client{DirectoryURL: a.URL, UserAgent: "culvert"},
	}
	if a.URL == "" {
		manager.Client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	if a.RootsFile != "" {
		roots, err := ReadRoots(a.RootsFile)
		if err != nil {
			return nil, err
		}
		manager.Client.HTTPClient = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}}
	}
	dir := a.Dir
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, errors.New("where to keep certificates is not known: say --acme-dir DIR")
		}
		dir = filepath.Join(cache, "culvert-acme")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	manager.Cache = autocert.DirCache(dir)
	return &tls.Config{GetCertificate: manager.GetCertificate, NextProtos: []string{acme.ALPNProto}, MinVersion: tls.VersionTLS12}, nil
}

// answersACME reports whether a connection was the authority's check, which ends
// with the handshake.
func (c *secureConn) answersACME() bool {
	return c.ConnectionState().NegotiatedProtocol == acme.ALPNProto
}
