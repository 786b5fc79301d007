package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"culvert/tunnel/internal/textfile"
)

// TLSOptions say how to speak TLS with a proxy (Hop.TLS) or with the target
// (client.Client.TLS). The zero TLSOptions verify the certificate as a browser does,
// by the system's authorities and the name that was connected to. The oldest version
// is TLS 1.2.
type TLSOptions struct {
	Roots       *x509.CertPool   // authorities to trust; nil = the system's
	Certificate *tls.Certificate // our own, if the other side asks for one; nil = none
	ServerName  string           // sent and verified; "" = the host connected to
	Protocols   []string         // for ALPN with the target; with a proxy culvert offers what it can speak
	Pins        []Pin            // the key of the certificate must be one of them; nil = any

	// Insecure accepts any certificate, unless Pins are given: they still apply.
	Insecure bool
}

// ClientTLSFiles are TLSOptions as a command line gives them: by the names of files
// and by text.
type ClientTLSFiles struct {
	Roots      string   // PEM file of authorities; "" = the system's
	Cert, Key  string   // PEM files of our own certificate; "" = none
	ServerName string   // to send and verify
	Insecure   bool     // accept any certificate
	Pins       []string // in the form that ParsePin takes
}

// IsZero reports whether every field is empty.
func (f ClientTLSFiles) IsZero() bool {
	return f.Roots == "" && f.Cert == "" && f.Key == "" && f.ServerName == "" && !f.Insecure && len(f.Pins) == 0
}

// Options reads the files. notes are sentences that warn the user, without a full
// stop.
func (f ClientTLSFiles) Options() (o *TLSOptions, notes []string, err error) {
	o = &TLSOptions{ServerName: f.ServerName, Insecure: f.Insecure}
	for _, s := range f.Pins {
		p, err := ParsePin(s)
		if err != nil {
			return nil, nil, err
		}
		o.Pins = append(o.Pins, p)
	}
	if f.Roots != "" {
		if o.Roots, err = ReadRoots(f.Roots); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case f.Cert == "" && f.Key == "":
		return o, nil, nil
	case f.Cert == "":
		return nil, nil, errors.New("a key without its certificate")
	case f.Key == "":
		f.Key = f.Cert // one file may hold both
	}
	var exposed bool
	if o.Certificate, exposed, err = ReadCertificate(f.Cert, f.Key); err != nil {
		return nil, nil, err
	}
	if exposed {
		notes = append(notes, fmt.Sprintf("others can read %s: chmod 600 keeps the key to yourself", f.Key))
	}
	return o, notes, nil
}

// UseTLS sets the options of every hop of r that speaks TLS and has none of its own,
// and reports whether there is such a hop. If o has a ServerName and there are
// several, it is an error, as one name cannot be right for all.
func (r *Route) UseTLS(o *TLSOptions) (used bool, err error) {
	for i := range r.Hops {
		if h := &r.Hops[i]; h.TLS == nil && (h.Scheme == SchemeHTTPS || h.Scheme == SchemeH2) {
			if used && o.ServerName != "" {
				return true, errors.New("there are several proxies that speak TLS, and one name cannot be right for all")
			}
			h.TLS, used = o, true
		}
	}
	return used, nil
}

// ReadRoots reads a PEM file of the certificates of authorities to trust.
func ReadRoots(path string) (*x509.CertPool, error) {
	text, err := textfile.Read(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in PEM in it", path)
	}
	return pool, nil
}

// ReadCertificate reads a certificate with its chain, and its private key, from PEM
// files, which may be one file. exposed reports that users other than the owner of
// the key's file may read that file.
func ReadCertificate(certPath, keyPath string) (c *tls.Certificate, exposed bool, err error) {
	cert, err := textfile.Read(certPath)
	if err != nil {
		return nil, false, err
	}
	key, err := textfile.Read(keyPath)
	if err != nil {
		return nil, false, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %s", certPath, strings.TrimPrefix(err.Error(), "tls: "))
	}
	info, err := os.Stat(keyPath)
	return &pair, err == nil && ReadableByOthers(info), nil
}
