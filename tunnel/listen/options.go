package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// Options say where the TLS listeners of a server get their certificate (two files, a
// self-signed certificate, or ACME) and which client certificates make users.
type Options struct {
	CertFile, KeyFile string       // PEM; read again when they change
	SelfSigned        bool         // make a certificate in memory instead, also for Hosts
	ACME              ACME         // get certificates from an authority instead, if it has Hosts
	Hosts             []string     // the hosts of the listeners, as clients name them
	ClientCAFile      string       // PEM file of the authorities of client certificates; "" = clients are not asked for any
	Log               *slog.Logger // gets lines about certificate files that changed; nil = no log
}

// cipherSuites returns the suites of TLS 1.2 that a listener takes: those with forward
// secrecy and authenticated encryption. Padding of CBC has been attacked again and again
// (RFC 9325, section 4.2). TLS 1.3 has no others.
func cipherSuites() (ids []uint16) {
	for _, suite := range tls.CipherSuites() {
		if strings.Contains(suite.Name, "_ECDHE_") && !strings.Contains(suite.Name, "_CBC_") {
			ids = append(ids, suite.ID)
		}
	}
	return ids
}

// TLS is what the TLS listeners of a server have in common. It was made by Options.
type TLS struct {
	Notes []string // warnings for the user: sentences without a full stop

	// SelfSigned is the certificate that was made in memory, nil if there is none.
	SelfSigned *x509.Certificate

	config       *tls.Config // only cloned, never used: a clone has tickets of its own
	files        *certificateFiles
	clientCAFile string

	mu        sync.Mutex
	listeners []*listener
}

// TLS reads the files and returns what they make, nil if o names no source of a
// certificate.
func (o Options) TLS() (t *TLS, err error) {
	if o.CertFile == "" && !o.SelfSigned && o.ACME.Hosts == nil {
		return nil, nil
	}
	defer func() {
		if t != nil {
			t.config.CipherSuites = cipherSuites()
		}
	}()
	t = &TLS{config: &tls.Config{MinVersion: tls.VersionTLS12}, clientCAFile: o.ClientCAFile}
	switch {
	case o.ACME.Hosts != nil:
		if t.config, err = o.ACME.config(); err != nil {
			return nil, err
		}
	case o.SelfSigned:
		pair, _, err := SelfSigned(o.Hosts...)
		if err != nil {
			return nil, err
		}
		t.config.Certificates, t.SelfSigned = []tls.Certificate{pair}, pair.Leaf
	default:
		if t.files, err = loadCertificateFiles(o.CertFile, o.KeyFile); err != nil {
			return nil, err
		}
		t.files.Log = o.Log
		t.config.GetCertificate, t.Notes = t.files.GetCertificate, t.files.Notes()
	}
	if o.ClientCAFile != "" {
		t.config.ClientAuth = tls.VerifyClientCertIfGiven
		if t.config.ClientCAs, err = loadClientCA(o.ClientCAFile); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Listen is NewTLS for the configuration of t.
func (t *TLS) Listen(l net.Listener) net.Listener {
	secure := &listener{Listener: l}
	t.mu.Lock()
	defer t.mu.Unlock()
	secure.use(t.config.Clone())
	t.listeners = append(t.listeners, secure)
	return secure
}

// CertFile returns the name of the certificate's file, "" if the certificate is not in a
// file.
func (t *TLS) CertFile() string {
	if t.files == nil {
		return ""
	}
	return t.files.certFile
}

// ClientCAFile returns the name of the file of the authorities of client certificates, ""
// if there is none.
func (t *TLS) ClientCAFile() string { return t.clientCAFile }

// ReloadCertificate reads the certificate and its key again, for the handshakes to come,
// and returns until when the certificate is valid. After an error the one before stays.
// There must be a CertFile.
func (t *TLS) ReloadCertificate() (until time.Time, err error) { return t.files.reload() }

// ReloadClientCA reads the authorities of client certificates again, for the handshakes
// to come. No session of a handshake before is resumed. After an error the authorities
// before stay. There must be a ClientCAFile.
func (t *TLS) ReloadClientCA() error {
	pool, err := loadClientCA(t.clientCAFile)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.config.ClientCAs = pool
	for _, l := range t.listeners {
		l.use(t.config.Clone())
	}
	return nil
}

// Check returns an error, and a hint, if the options contradict each other. secure says
// whether a listener speaks TLS. The texts name the flags of culvert serve.
func (o Options) Check(secure bool) (hint string, err error) {
	files := o.CertFile != "" || o.KeyFile != ""
	acme := o.ACME.Hosts != nil
	switch {
	case !acme && (o.ACME.Dir != "" || o.ACME.URL != "" || o.ACME.RootsFile != ""):
		return "say --acme HOST, the name that clients use", errors.New("--acme-dir, --acme-url and --acme-ca are for --acme")
	case !secure && (files || o.SelfSigned || acme || o.ClientCAFile != ""):
		return "say --listen https://HOST:PORT", errors.New("a certificate is given, and no listener speaks TLS")
	case !secure:
		return "", nil
	case files && o.SelfSigned:
		return "leave one of them out", errors.New("--tls-self-signed makes a certificate, and --tls-cert or --tls-key gives one")
	case acme && (files || o.SelfSigned):
		return "leave one of them out", errors.New("--acme gets certificates, and --tls-cert, --tls-key or --tls-self-signed is another way to one")
	case files && (o.CertFile == "" || o.KeyFile == ""):
		return "give the certificate's file and its key's file", errors.New("--tls-cert and --tls-key go together")
	case !files && !o.SelfSigned && !acme:
		return "--tls-cert FILE and --tls-key FILE, --acme HOST, or, to try things out, --tls-self-signed", errors.New("an https:// listener wants a certificate")
	}
	for _, host := range o.ACME.Hosts {
		if _, err := acmeName(host); err != nil {
			return "the name that clients use, as in --acme proxy.example.com", fmt.Errorf("--acme: no certificate can be had for %q: %w", host, err)
		}
	}
	return "", nil
}
