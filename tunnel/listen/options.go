package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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

// Config returns a configuration for NewTLS, and warnings and advice for the user:
// sentences without a full stop. It is nil if o names no source of a certificate.
func (o Options) Config() (config *tls.Config, notes []string, err error) {
	if o.CertFile == "" && !o.SelfSigned && o.ACME.Hosts == nil {
		return nil, nil, nil
	}
	config = &tls.Config{MinVersion: tls.VersionTLS12}
	defer func() {
		if config != nil {
			config.CipherSuites = cipherSuites()
		}
	}()
	switch {
	case o.ACME.Hosts != nil:
		if config, err = o.ACME.config(); err != nil {
			return nil, nil, err
		}
	case o.SelfSigned:
		pair, pin, err := SelfSigned(o.Hosts...)
		if err != nil {
			return nil, nil, err
		}
		config.Certificates = []tls.Certificate{pair}
		notes = append(notes, "the self-signed certificate's pin is "+pin+" (for clients: culvert dial --pin, curl --pinnedpubkey)")
	default:
		files, err := loadCertificateFiles(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, nil, err
		}
		files.Log = o.Log
		config.GetCertificate, notes = files.GetCertificate, files.Notes()
	}
	if o.ClientCAFile != "" {
		config.ClientAuth = tls.VerifyClientCertIfGiven
		if config.ClientCAs, err = loadClientCA(o.ClientCAFile); err != nil {
			return nil, nil, err
		}
	}
	return config, notes, nil
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
