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

// ACME says from which authority a server gets its certificates, and for which names
// (RFC 8555). The authority checks the names by a handshake with the TLS listener
// itself (tls-alpn-01, RFC 8737), so port 443 of each name must lead to the listener.
type ACME struct {
	Hosts     []string // names to get certificates for; nil = ACME is not used
	Dir       string   // the directory to keep them in, created with mode 0700; "" = in the user's cache directory
	URL       string   // the directory URL of the authority; "" = that of Let's Encrypt
	RootsFile string   // PEM file of the authorities to trust for that URL; "" = the system's
}

// acmeName returns the host in the form in which clients name it in their handshake.
// Addresses and names of one label are errors: clients name no address, and no
// authority issues certificates for such names.
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

// config returns a configuration that gets certificates when they are needed. The
// first handshake for a name waits for its certificate, which is renewed a month
// before it expires.
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
	dir, err := a.Folder()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the folder to keep certificates in: %w", err)
	}
	manager.Cache = autocert.DirCache(dir)
	return &tls.Config{GetCertificate: manager.GetCertificate, NextProtos: []string{acme.ALPNProto}, MinVersion: tls.VersionTLS12}, nil
}

// Folder returns the folder in which certificates are kept.
func (a ACME) Folder() (string, error) {
	if a.Dir != "" {
		return a.Dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", errors.New("where to keep certificates is not known: say --acme-dir DIR")
	}
	return filepath.Join(cache, "culvert-acme"), nil
}

// IsACMEChallenge reports whether the handshake was the check of an ACME authority.
// Then nothing follows on the connection.
func (c *Conn) IsACMEChallenge() bool {
	return c.ConnectionState().NegotiatedProtocol == acme.ALPNProto
}
