package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"culvert/tunnel/internal/certwords"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// tlsProblem is what kind of failure a TLS handshake ended in, as far as a
// person can do something different about it.
type tlsProblem uint8

const (
	tlsOther       tlsProblem = iota
	tlsPlainHTTP              // the answer was HTTP in clear
	tlsNotTLS                 // the answer was something else
	tlsHungUp                 // there was no answer
	tlsVersion                // no version in common
	tlsProtocol               // no ALPN protocol in common
	tlsWantsCert              // a certificate of ours is missing
	tlsRefusedCert            // ours was refused
	tlsUnknown                // unknown authority
	tlsSelfSigned             // likewise, and its own
	tlsExpired
	tlsNotYet
	tlsWrongName
	tlsWrongKey // not pinned
)

// tlsFailure is beneath an Error of PhaseTLS.
type tlsFailure struct {
	problem tlsProblem
	words   string // a clause, the certificate's description included; printable
	err     error  // what lies beneath
}

func (f *tlsFailure) Error() string { return f.words }
func (f *tlsFailure) Unwrap() error { return f.err }

var errNotPinned = errors.New("the key is not pinned")

// failure makes the Error of a handshake that failed.
func (h *TLSHandshake) failure(ctx context.Context, err error) *Error {
	e := &Error{Phase: PhaseTLS, Type: ErrorTLSProtocol, Target: h.Target}
	if !h.inside() {
		e.Hop, e.scheme = h.Hop.Name(), h.Hop.Scheme
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Type, e.Detail, e.Err = ErrorConnectionTerminated, "cancelled", context.Cause(ctx)
		return e
	case neterr.Timeout(err), ctx.Err() != nil:
		e.Type, e.Err = ErrorConnectionReadTimeout, context.DeadlineExceeded
		return e
	}
	f := h.judgeCertificate(err)
	if f != nil {
		e.Type = ErrorTLSCertificate
	} else {
		f = h.judgeProtocol(err)
	}
	e.Err = f
	return e
}

// judgeCertificate returns nil if the certificate is not what failed.
func (h *TLSHandshake) judgeCertificate(err error) *tlsFailure {
	f := &tlsFailure{err: err}
	said := func(problem tlsProblem, c *x509.Certificate, format string, args ...any) *tlsFailure {
		f.problem = problem
		f.words = fmt.Sprintf(format, args...) + " (" + certwords.Certificate(c) + ")"
		return f
	}
	if len(h.State.PeerCertificates) == 0 {
		return nil
	}
	leaf := h.State.PeerCertificates[0]
	whose := func(c *x509.Certificate) string {
		if c != nil && !c.Equal(leaf) {
			return "a certificate of its chain"
		}
		return "its certificate"
	}
	if errors.Is(err, errNotPinned) {
		return said(tlsWrongKey, leaf, "its key is not a pinned one but %s", PinOf(leaf))
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		now := time.Now()
		switch {
		case invalid.Reason != x509.Expired || invalid.Cert == nil:
			return said(tlsOther, leaf, "its certificate is not valid: %s", certwords.Cause(err))
		case now.Before(invalid.Cert.NotBefore):
			return said(tlsNotYet, invalid.Cert, "%s is valid only from %s on", whose(invalid.Cert), certwords.Date(invalid.Cert.NotBefore))
		}
		return said(tlsExpired, invalid.Cert, "%s expired on %s", whose(invalid.Cert), certwords.Date(invalid.Cert.NotAfter))
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return said(tlsWrongName, leaf, "its certificate is not for %s but for %s", wire.Escape([]byte(h.ServerName), 80), certwords.List(certwords.Hosts(leaf)))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if leaf.CheckSignatureFrom(leaf) == nil || string(leaf.RawIssuer) == string(leaf.RawSubject) {
			return said(tlsSelfSigned, leaf, "its certificate is signed by itself")
		}
		return said(tlsUnknown, leaf, "its certificate is from an unknown authority")
	}
	if errors.Is(err, h.TrustError) && h.TrustError != nil {
		return said(tlsOther, leaf, "its certificate is not trusted: %s", certwords.Cause(err))
	}
	return nil
}

// judgeProtocol is for everything else.
func (h *TLSHandshake) judgeProtocol(err error) *tlsFailure {
	f := &tlsFailure{err: err}
	var record tls.RecordHeaderError
	text := strings.TrimPrefix(neterr.Plain(err).Error(), "tls: ")
	switch words, alert := alertOf(err); {
	case errors.As(err, &record):
		return notTLS(h.began, err)
	case alert && h.Asked && !h.Shown && isAboutCertificate(words):
		f.problem, f.words = tlsWantsCert, "it wants a client certificate: "+words
	case alert && h.Shown && isAboutCertificate(words):
		f.problem, f.words = tlsRefusedCert, "it refused the client certificate: "+words
	case alert && strings.Contains(words, "version"), strings.Contains(text, "unsupported protocol version"):
		f.problem, f.words = tlsVersion, "it speaks no version from TLS 1.2 on: "+text
	case alert && strings.Contains(words, "application protocol"), strings.Contains(text, "ALPN protocol"):
		f.problem, f.words = tlsProtocol, "it speaks none of the protocols that were offered: "+text
	case alert:
		f.words = "it ended the handshake: " + words
	case neterr.Reset(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.problem, f.words = tlsHungUp, "it closed the connection within the handshake"
	default:
		f.words = wire.Escape([]byte(text), maxDetail)
	}
	return f
}

// notTLS shows what came instead of TLS.
func notTLS(began []byte, err error) *tlsFailure {
	f := &tlsFailure{problem: tlsNotTLS, err: err, words: `it answered something that is not TLS, which begins with "` + wire.Escape(began, maxBegan) + `"`}
	if bytes.HasPrefix(began, []byte("HTTP/")) {
		f.problem, f.words = tlsPlainHTTP, "it answered in plain HTTP"
	}
	return f
}

// alertOf returns the words of an alert that the other side sent.
func alertOf(err error) (words string, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return "", false
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: "), true
}

// isAboutCertificate is for the alerts with which servers refuse a client for
// its certificate: OpenSSL and Go say handshake failure or bad certificate in
// TLS 1.2 where one is missing.
func isAboutCertificate(alert string) bool {
	return strings.Contains(alert, "certificate") || alert == "handshake failure" || alert == "access denied"
}

// lateFailure is for TLS 1.3, where the server judges our certificate after the
// handshake is over for us: its alert, or its hanging up, comes to the first
// read. It is nil if err has nothing to do with that.
func (c *clientTLS) lateFailure(err error) *Error {
	h := c.handshake
	_, alert := alertOf(err)
	cut := errors.Is(err, errTruncated) || neterr.Reset(err)
	switch {
	case alert:
	case cut && h.Asked && !h.Shown:
		// The alert may have been lost to the reset.
		err = &net.OpError{Op: "remote error", Err: errors.New("the connection was closed after none was given, certificate required")}
	default:
		return nil
	}
	e := &Error{Phase: PhaseTLS, Type: ErrorTLSProtocol, Target: h.Target, Err: h.judgeProtocol(err)}
	if !h.inside() {
		e.Hop = h.Hop.Name()
	}
	return e
}
