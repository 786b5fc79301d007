package tunnel

import (
	"errors"
	"fmt"
)

// ClientTLSFiles say how TLS is spoken, as a command line does: by files and
// words.
type ClientTLSFiles struct {
	Roots      string   // PEM file of authorities; "" = the system's
	Cert, Key  string   // PEM files of our own certificate; "" = none
	ServerName string   // to be sent and verified
	Insecure   bool     // any certificate will do
	Pins       []string // as ParsePin takes them
}

// IsZero reports whether nothing is said.
func (f ClientTLSFiles) IsZero() bool {
	return f.Roots == "" && f.Cert == "" && f.Key == "" && f.ServerName == "" && !f.Insecure && len(f.Pins) == 0
}

// Options reads the files. notes are what a person should know.
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

// UseTLS speaks TLS by these options with every hop that speaks it and has no
// options of its own, and reports whether there is one. A ServerName is for one
// such hop alone.
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
