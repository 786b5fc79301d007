package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"culvert/tunnel"

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

// acmeName is a host as clients name it in their handshake, which no address is.
// No authority knows names of one label.
func acmeName(host string) (string, error) {
	ascii, err := tunnel.ToASCII(host)
	if err != nil {
		return "", err
	}
	name, addr, err := tunnel.ParseHost(ascii)
	switch {
	case err != nil:
		return "", err
	case addr.IsValid():
		return "", errors.New("it is an address, and clients name no address in their handshake")
	case !strings.Contains(name, "."):
		return "", errors.New("it has one label only, and no authority knows it")
	}
	return name, nil
}

// config returns how handshakes get their certificates: the first one for a name
// waits for it, and it is renewed a month before its end.
func (a ACME) config() (*tls.Config, error) {
	names := make([]string, len(a.Hosts))
	for i, host := range a.Hosts {
		var err error
		if names[i], err = acmeName(host); err != nil {
			return nil, fmt.Errorf("no certificate can be had for %q: %w", host, err)
		}
	}
	manager := &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(names...),
		Client: &acme.Client{DirectoryURL: a.URL, UserAgent: "culvert"},
	}
	if a.URL == "" {
		manager.Client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	if a.RootsFile != "" {
		roots, err := tunnel.ReadRoots(a.RootsFile)
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
		return nil, fmt.Errorf("the folder to keep certificates in: %w", err)
	}
	manager.Cache = autocert.DirCache(dir)
	return &tls.Config{GetCertificate: manager.GetCertificate, NextProtos: []string{acme.ALPNProto}, MinVersion: tls.VersionTLS12}, nil
}

// AnswersACME reports whether a connection was the authority's check, which ends
// with the handshake.
func (c *Conn) IsACMEChallenge() bool {
	return c.ConnectionState().NegotiatedProtocol == acme.ALPNProto
}
