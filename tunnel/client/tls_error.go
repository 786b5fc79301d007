package client

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

	"culvert/tunnel"
	"culvert/tunnel/internal/certwords"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// TLSProblem is the reason why a TLS handshake failed. There is one for each case in
// which the user can do something else about it.
type TLSProblem uint8

// The reasons.
const (
	TLSOther              TLSProblem = iota
	TLSPlainHTTP                     // the answer was HTTP without TLS
	TLSNotTLS                        // the answer was neither TLS nor HTTP
	TLSHungUp                        // the connection was closed during the handshake
	TLSNoVersion                     // no version in common
	TLSNoProtocol                    // no ALPN protocol in common
	TLSWantsCertificate              // the peer wants a client certificate, and none was given
	TLSRefusedCertificate            // the peer refused the client certificate
	TLSUnknownAuthority              // the peer's certificate is from an unknown authority
	TLSSelfSigned                    // the peer's certificate is signed by itself, and not trusted
	TLSExpired                       // a certificate of the peer's chain has expired
	TLSNotYetValid                   // a certificate of the peer's chain is not valid yet
	TLSWrongName                     // the peer's certificate is for another name
	TLSWrongKey                      // the key of the peer's certificate is not pinned
)

// TLSFailure says why a TLS handshake failed. A tunnel.Error of PhaseTLS wraps one, unless
// the handshake exceeded its deadline or was cancelled.
type TLSFailure struct {
	Problem TLSProblem
	Words   string // a clause that says what happened, in printable ASCII; describes the certificate if that is the reason
	err     error
}

// Error returns Words.
func (f *TLSFailure) Error() string { return f.Words }

// Unwrap returns the error from crypto/tls or crypto/x509; nil if there is none.
func (f *TLSFailure) Unwrap() error { return f.err }

var errNotPinned = errors.New("the key is not pinned")

// failure returns the Error for a handshake that failed with err.
func (h *TLSHandshake) failure(ctx context.Context, err error) *tunnel.Error {
	e := &tunnel.Error{Phase: tunnel.PhaseTLS, Type: tunnel.ErrorTLSProtocol, Target: h.Target}
	if !h.Inside() {
		e.Hop, e.Scheme = h.Hop.Name(), h.Hop.Scheme
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Type, e.Detail, e.Err = tunnel.ErrorConnectionTerminated, "cancelled", context.Cause(ctx)
		return e
	case neterr.Timeout(err), ctx.Err() != nil:
		e.Type, e.Err = tunnel.ErrorConnectionReadTimeout, context.DeadlineExceeded
		return e
	}
	f := h.certificateFailure(err)
	if f != nil {
		e.Type = tunnel.ErrorTLSCertificate
	} else {
		f = h.protocolFailure(err)
	}
	e.Err = f
	return e
}

// certificateFailure returns the failure if err is about the peer's certificate, else nil.
func (h *TLSHandshake) certificateFailure(err error) *TLSFailure {
	f := &TLSFailure{err: err}
	failed := func(problem TLSProblem, c *x509.Certificate, format string, args ...any) *TLSFailure {
		f.Problem = problem
		f.Words = fmt.Sprintf(format, args...) + " (" + certwords.Certificate(c) + ")"
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
		return failed(TLSWrongKey, leaf, "its key is not a pinned one but %s", tunnel.PinOf(leaf))
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		now := time.Now()
		switch {
		case invalid.Reason != x509.Expired || invalid.Cert == nil:
			return failed(TLSOther, leaf, "its certificate is not valid: %s", certwords.Cause(err))
		case now.Before(invalid.Cert.NotBefore):
			return failed(TLSNotYetValid, invalid.Cert, "%s is valid only from %s on", whose(invalid.Cert), certwords.Date(invalid.Cert.NotBefore))
		}
		return failed(TLSExpired, invalid.Cert, "%s expired on %s", whose(invalid.Cert), certwords.Date(invalid.Cert.NotAfter))
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return failed(TLSWrongName, leaf, "its certificate is not for %s but for %s", wire.Escape([]byte(h.ServerName), 80), certwords.List(certwords.Hosts(leaf)))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if leaf.CheckSignatureFrom(leaf) == nil || string(leaf.RawIssuer) == string(leaf.RawSubject) {
			return failed(TLSSelfSigned, leaf, "its certificate is signed by itself")
		}
		return failed(TLSUnknownAuthority, leaf, "its certificate is from an unknown authority")
	}
	if errors.Is(err, h.TrustError) && h.TrustError != nil {
		return failed(TLSOther, leaf, "its certificate is not trusted: %s", certwords.Cause(err))
	}
	return nil
}

// protocolFailure returns the failure for any other error of a handshake.
func (h *TLSHandshake) protocolFailure(err error) *TLSFailure {
	f := &TLSFailure{err: err}
	var record tls.RecordHeaderError
	text := strings.TrimPrefix(neterr.Plain(err).Error(), "tls: ")
	switch words, alert := alertOf(err); {
	case errors.As(err, &record):
		return notTLS(h.firstBytes, err)
	case alert && h.Asked && !h.Shown && isAboutCertificate(words):
		f.Problem, f.Words = TLSWantsCertificate, "it wants a client certificate: "+words
	case alert && h.Shown && isAboutCertificate(words):
		f.Problem, f.Words = TLSRefusedCertificate, "it refused the client certificate: "+words
	case alert && strings.Contains(words, "version"), strings.Contains(text, "unsupported protocol version"):
		f.Problem, f.Words = TLSNoVersion, "it speaks no version from TLS 1.2 on: "+text
	case alert && strings.Contains(words, "application protocol"), strings.Contains(text, "ALPN protocol"):
		f.Problem, f.Words = TLSNoProtocol, "it speaks none of the protocols that were offered: "+text
	case alert:
		f.Words = "it ended the handshake: " + words
	case neterr.Reset(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.Problem, f.Words = TLSHungUp, "it closed the connection within the handshake"
	default:
		f.Words = wire.Escape([]byte(text), MaxDetail)
	}
	return f
}

// notTLS returns the failure for an answer that was not TLS.
func notTLS(firstBytes []byte, err error) *TLSFailure {
	f := &TLSFailure{Problem: TLSNotTLS, err: err, Words: `it answered something that is not TLS, which begins with "` + wire.Escape(firstBytes, maxFirstBytes) + `"`}
	if bytes.HasPrefix(firstBytes, []byte("HTTP/")) {
		f.Problem, f.Words = TLSPlainHTTP, "it answered in plain HTTP"
	}
	return f
}

// alertOf returns the description of the alert that the other side sent; ok is false if
// err is something else.
func alertOf(err error) (words string, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return "", false
	}
	return strings.TrimPrefix(op.Err.Error(), "tls: "), true
}

// isAboutCertificate reports whether an alert may be about the client's certificate. In
// TLS 1.2, OpenSSL and Go send "handshake failure" or "bad certificate" if it is missing.
func isAboutCertificate(alert string) bool {
	return strings.Contains(alert, "certificate") || alert == "handshake failure" || alert == "access denied"
}

// lateFailure returns the Error for a client certificate that was refused after the
// handshake: in TLS 1.3 the client sees the server's alert, or the end of the connection,
// only in its first read. It returns nil for any other err.
func (c *clientTLS) lateFailure(err error) *tunnel.Error {
	h := c.handshake
	_, alert := alertOf(err)
	cut := errors.Is(err, ErrTruncated) || neterr.Reset(err)
	switch {
	case alert:
	case cut && h.Asked && !h.Shown:
		// The alert may have been lost to the reset.
		err = &net.OpError{Op: "remote error", Err: errors.New("the connection was closed after none was given, certificate required")}
	default:
		return nil
	}
	e := &tunnel.Error{Phase: tunnel.PhaseTLS, Type: tunnel.ErrorTLSProtocol, Target: h.Target, Err: h.protocolFailure(err)}
	if !h.Inside() {
		e.Hop = h.Hop.Name()
	}
	return e
}
