package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"culvert/tunnel/internal/textfile"
)

// certificateFiles are the certificate of a server with its chain, and its key, in two
// PEM files. They are read again when they change.
type certificateFiles struct {
	// Log gets a line when the files were read again, and when changed files could
	// not be used, once for each change; the old certificate then stays in use.
	// nil = no log. It must not be changed after the first handshake.
	Log *slog.Logger

	certFile, keyFile string

	mu      sync.Mutex
	looked  time.Time
	seen    fileStates
	current *tls.Certificate
}

// certificateLook is the shortest time between two checks of the files.
const certificateLook = time.Second

// loadCertificateFiles reads the two files.
func loadCertificateFiles(certFile, keyFile string) (*certificateFiles, error) {
	f := &certificateFiles{certFile: certFile, keyFile: keyFile}
	f.seen, f.looked = f.look(), time.Now()
	var err error
	f.current, err = f.read()
	return f, err
}

// GetCertificate is for the field of tls.Config. It checks at most once a second
// whether the files have changed.
func (f *certificateFiles) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= certificateLook {
		f.looked = now
		f.renew()
	}
	return f.current, nil
}

// renew reads the files again if they have changed. f.mu is held.
func (f *certificateFiles) renew() {
	// The states are taken before the files are read: a change in between is found by
	// the next check.
	states := f.look()
	if states.equal(f.seen) {
		return
	}
	f.seen = states
	log := f.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	next, err := f.read()
	if err != nil {
		log.Warn("the changed certificate cannot be used, the one before stays", "cert", f.certFile, "key", f.keyFile, "error", err)
		return
	}
	f.current = next
	log.Info("the certificate was read anew", "cert", f.certFile, "until", next.Leaf.NotAfter.UTC())
}

// reload reads the files again, and returns until when the certificate is valid. After an
// error the certificate before stays.
func (f *certificateFiles) reload() (until time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := f.look() // before reading, as in renew
	next, err := f.read()
	if err != nil {
		return time.Time{}, err
	}
	f.current, f.seen, f.looked = next, states, time.Now()
	return next.Leaf.NotAfter, nil
}

func (f *certificateFiles) read() (*tls.Certificate, error) {
	cert, err := textfile.Read(f.certFile)
	if err != nil {
		return nil, err
	}
	key, err := textfile.Read(f.keyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %s", f.certFile, f.keyFile, TLSErrorText(err))
	}
	return &pair, nil
}

// Notes returns warnings about the files: sentences without a full stop, none if all is
// well.
func (f *certificateFiles) Notes() (notes []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if info, err := os.Stat(f.keyFile); err == nil && info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" {
		notes = append(notes, fmt.Sprintf("the key in %s can be read by other users of this machine (mode %04o): chmod 600 %[1]s", f.keyFile, info.Mode().Perm()))
	}
	leaf := f.current.Leaf
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		notes = append(notes, fmt.Sprintf("the certificate in %s expired on %s: clients will not trust it", f.certFile, leaf.NotAfter.UTC().Format(time.DateOnly)))
	case now.Before(leaf.NotBefore):
		notes = append(notes, fmt.Sprintf("the certificate in %s is not valid before %s: clients will not trust it", f.certFile, leaf.NotBefore.UTC().Format(time.DateOnly)))
	}
	return notes
}

// fileStates are the states of the two files, to find out whether they have changed;
// nil = the file did not exist.
type fileStates [2]fs.FileInfo

func (f *certificateFiles) look() (states fileStates) {
	for i, path := range []string{f.certFile, f.keyFile} {
		if info, err := os.Stat(path); err == nil {
			states[i] = info
		}
	}
	return states
}

func (s fileStates) equal(other fileStates) bool {
	for i, a := range s {
		b := other[i]
		switch {
		case a == nil && b == nil:
		case a == nil || b == nil:
			return false
		case !os.SameFile(a, b) || !a.ModTime().Equal(b.ModTime()) || a.Size() != b.Size():
			return false
		}
	}
	return true
}

// loadClientCA reads a PEM file of the authorities that issue client certificates.
func loadClientCA(file string) (*x509.CertPool, error) {
	text, err := textfile.Read(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New(file + ": there is no PEM certificate in it")
	}
	return pool, nil
}
