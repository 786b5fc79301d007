package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/listen"
)

// handshake performs the TLS handshake within limit; 0 = no limit. If it fails, the
// client is answered as far as possible, and the failure is logged. If the client
// would be refused afterwards, refusal is the reason, and the record has it instead of
// the handshake's failure; else refusal is nil.
func (c *clientConn) handshake(limit time.Duration, refusal *tunnel.Error) bool {
	if !c.beginHandshake(limit) {
		return false
	}
	if err := c.secure.Handshake(); err != nil {
		c.handshakeFailed(err, refusal)
		return false
	}
	c.mu.Lock()
	c.secured = true
	if !c.dropped {
		c.conn.SetDeadline(time.Time{})
	}
	c.mu.Unlock()
	c.user = certificateUser(c.secure.ConnectionState())
	return true
}

// beginHandshake sets the handshake's deadline. It returns false if the Server
// drains: shutdown may end a connection until there is a request.
func (c *clientConn) beginHandshake(limit time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.run.draining.Load() {
		return false
	}
	if limit > 0 {
		c.conn.SetDeadline(time.Now().Add(limit))
	}
	return true
}

// handshakeFailed logs a handshake that failed, and closes the connection so that the
// client can read the alert that it was sent. Plain HTTP is answered in plain HTTP. A
// connection on which no byte came is closed without answer or record.
func (c *clientConn) handshakeFailed(err error, refusal *tunnel.Error) {
	e := refusal
	if e == nil {
		if !c.secure.HasReceived() || c.server.run.draining.Load() {
			return
		}
		if e = c.errorIfDropped(); e == nil {
			e = handshakeError(err)
		}
	}
	rec := c.newRecord("", "")
	if isPlainHTTP(err) {
		c.refuseOn(c.socket, rec, e, false)
		return
	}
	rec.SetError(e)
	rec.Status = 0 // there was no HTTP answer
	c.server.logRequest(rec)
	if !neterr.Timeout(err) {
		closeAfterReply(c.socket, false)
	}
}

// isPlainHTTP reports whether a handshake failed because the client sent an HTTP
// request. A TLS record does not begin with a letter.
func isPlainHTTP(err error) bool {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil {
		return false
	}
	for i, b := range header.RecordHeader {
		letter := b|0x20 >= 'a' && b|0x20 <= 'z'
		if !letter && (i == 0 || b < ' ' || b > '~') {
			return false
		}
	}
	return true
}

// handshakeError returns the Error for a handshake that failed.
func handshakeError(err error) *tunnel.Error {
	e := &tunnel.Error{Phase: tunnel.PhaseTLS, Type: tunnel.ErrorTLSProtocol, Err: err}
	var header tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case isPlainHTTP(err):
		e.Type, e.Status = tunnel.ErrorRequest, http.StatusBadRequest
		e.Detail = "plain HTTP came to a port that speaks TLS: use https:// for this proxy"
	case neterr.Timeout(err):
		e.Detail = "the TLS handshake did not end in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), neterr.Reset(err), errors.Is(err, net.ErrClosed):
		e.Detail = "the client left within the TLS handshake"
	case errors.As(err, &header) && header.RecordHeader[0] == 0x80:
		e.Detail = "SSL 2.0 came to a port that speaks TLS"
	case errors.As(err, &header):
		e.Detail = "what came to a port that speaks TLS is no TLS"
	case errors.As(err, &certificate):
		e.Type = tunnel.ErrorTLSCertificate
		e.Detail = "the client's certificate is refused: " + certificateProblem(certificate)
	case errors.As(err, &op) && op.Op == "local error" && strings.Contains(op.Err.Error(), "bad record MAC"):
		// OpenSSL sends its alert about a certificate that it does not trust
		// without the encryption that TLS 1.3 requires.
		e.Detail = "the client broke the TLS handshake off: it may not trust this proxy's certificate"
	case errors.As(err, &op) && op.Op == "remote error": // an alert, as about a certificate that it does not trust
		e.Detail = "the client ended the TLS handshake: " + listen.TLSErrorText(op.Err)
	default:
		e.Detail = "the TLS handshake failed: " + listen.TLSErrorText(err)
	}
	return e
}

// certificateProblem returns in words whose certificate is refused, and why.
func certificateProblem(err *tls.CertificateVerificationError) string {
	if len(err.UnverifiedCertificates) == 0 {
		return listen.TLSErrorText(err.Err)
	}
	leaf := err.UnverifiedCertificates[0]
	var invalid x509.CertificateInvalidError
	why := listen.TLSErrorText(err.Err)
	if errors.As(err.Err, &invalid) && invalid.Reason == x509.Expired {
		why = fmt.Sprintf("valid from %s to %s only", leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime))
	}
	return fmt.Sprintf("%s, issued by %s: %s", orNameless(leaf.Subject.String()), orNameless(leaf.Issuer.String()), why)
}

func orNameless(name string) string {
	if name == "" {
		return "a nameless one"
	}
	return name
}

// certificateUser returns the user that a verified client certificate names: the
// subject's common name, or else the first mail address, DNS name or URI, or else
// the serial number, by which its issuer knows it. "" = no certificate was verified.
func certificateUser(state tls.ConnectionState) string {
	if len(state.VerifiedChains) == 0 {
		return ""
	}
	leaf := state.PeerCertificates[0]
	names := append(append([]string{leaf.Subject.CommonName}, leaf.EmailAddresses...), leaf.DNSNames...)
	for _, uri := range leaf.URIs {
		names = append(names, uri.String())
	}
	for _, name := range names {
		if name != "" {
			return name
		}
	}
	return "serial:" + leaf.SerialNumber.Text(16)
}

// tlsHandshake is the first byte of a TLS handshake record.
const tlsHandshake = 0x16

// isTLS reports whether b begins with a TLS handshake record, as no request does.
func isTLS(b []byte) bool { return len(b) > 1 && b[0] == tlsHandshake && b[1] == 0x03 }

// tlsOnPlainPort returns the refusal of TLS on a port of plain HTTP. The answer is
// plain HTTP, which TLS clients recognise and report.
func tlsOnPlainPort() *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Status: http.StatusBadRequest,
		Detail: "TLS came to a port that speaks plain HTTP: use http:// for this proxy"}
}

// beginsTLS reports whether the client begins with TLS. It waits for a second byte
// only if no request begins with the first.
func (c *clientConn) beginsTLS() bool {
	if first, _ := c.br.Peek(1); len(first) == 0 || first[0] != tlsHandshake {
		return false
	}
	start, _ := c.br.Peek(2)
	return isTLS(start)
}
