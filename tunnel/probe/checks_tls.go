package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/certwords"
	"culvert/tunnel/internal/wire"
)

// tlsCheck is a check of one TLS handshake.
type tlsCheck struct {
	id, title, rfc string
	level          Level
	run            func(h recordedTLS, s *session) outcome
}

var tlsChecks = [...]tlsCheck{
	{"tls-handshake", "TLS is spoken, and its handshake ends well", "RFC 8446, section 4", LevelMust, checkTLSHandshake},
	{"tls-version", "the version is TLS 1.3", "RFC 9325, section 3.1.1", LevelShould, onCertificate(checkTLSVersion)},
	{"tls-trust", "the chain leads to an authority that is trusted", "RFC 5280, section 6", LevelMust, onCertificate(checkTLSTrust)},
	{"tls-name", "the certificate is for the name", "RFC 9525, section 6", LevelMust, onCertificate(checkTLSName)},
	{"tls-dates", "no certificate is expired, or about to be", "RFC 5280, section 4.1.2.5", LevelMust, onCertificate(checkTLSDates)},
	{"tls-close-notify", "the end is announced by close_notify", "RFC 8446, section 6.1", LevelMust, checkCloseNotify},
}

// A certificate that expires within expiryWarning is worth a warning.
const expiryWarning = 14 * 24 * time.Hour

// tlsFindings runs the checks over every handshake.
func (s *session) tlsFindings() []Finding {
	all := []Finding{}
	for _, h := range s.tls {
		for _, c := range tlsChecks {
			o := c.run(h, s)
			all = append(all, Finding{
				ID: c.id, Title: c.title, RFC: c.rfc, Level: c.level, Exchange: -1, Hop: s.shown(h.Peer()),
				Grade: o.grade, Evidence: s.mask.Text(o.evidence),
			})
		}
	}
	return all
}

// onCertificate skips a check that needs the peer's certificate where none came.
func onCertificate(run func(recordedTLS, *session) outcome) func(recordedTLS, *session) outcome {
	return func(h recordedTLS, s *session) outcome {
		if len(h.State.PeerCertificates) == 0 {
			return outcome{Skip, "no certificate came"}
		}
		return run(h, s)
	}
}

// checkTLSHandshake leaves the certificate to the checks that are about it.
func checkTLSHandshake(h recordedTLS, _ *session) outcome {
	var e *tunnel.Error
	if h.Err != nil {
		e = tunnel.AsError(h.Err, tunnel.PhaseTLS)
	}
	switch {
	case e == nil:
		return outcome{grade: Pass}
	case e.Type == tunnel.ErrorTLSCertificate:
		return outcome{Skip, "the certificate was not accepted"}
	case e.Err == nil:
		return outcome{Fail, e.Cause()}
	}
	if f, ok := errors.AsType[*client.TLSFailure](e.Err); ok {
		return outcome{Fail, f.Words} // escaped already
	}
	return outcome{Fail, wire.Escape([]byte(e.Err.Error()), maxTextShown)}
}

func checkTLSVersion(h recordedTLS, _ *session) outcome {
	if h.State.Version >= tls.VersionTLS13 {
		return outcome{grade: Pass}
	}
	return outcome{Warn, tls.VersionName(h.State.Version)}
}

func checkTLSTrust(h recordedTLS, _ *session) outcome {
	switch {
	case h.TrustError == nil, h.OutOfDate: // the dates have a check of their own
		return outcome{grade: Pass}
	case h.Pinned:
		return outcome{Warn, "the key is pinned, but " + certwords.Cause(h.TrustError)}
	}
	return outcome{Fail, certwords.Cause(h.TrustError)}
}

func checkTLSName(h recordedTLS, _ *session) outcome {
	if h.NameError == nil {
		return outcome{grade: Pass}
	}
	return outcome{Fail, "not for " + wire.Escape([]byte(h.ServerName), 80) + " but for " + certwords.List(certwords.Hosts(h.State.PeerCertificates[0]))}
}

// checkTLSDates examines the certificate of the chain that expires first.
func checkTLSDates(h recordedTLS, s *session) outcome {
	first := h.State.PeerCertificates[0]
	for _, c := range h.State.PeerCertificates {
		if s.started.Before(c.NotBefore) {
			return outcome{Fail, "not valid yet: " + certwords.Certificate(c)}
		}
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	switch left := first.NotAfter.Sub(s.started); {
	case left < 0:
		return outcome{Fail, certwords.Days(certwords.DaysLeft(first, s.started)) + ": " + certwords.Certificate(first)}
	case left < expiryWarning:
		return outcome{Warn, fmt.Sprintf("%s: %s", certwords.Days(certwords.DaysLeft(first, s.started)), certwords.Certificate(first))}
	}
	return outcome{grade: Pass}
}

// checkCloseNotify examines the innermost TLS connection only: its peer ended the
// stream that was read.
func checkCloseNotify(h recordedTLS, s *session) outcome {
	switch {
	case s.tunnel == nil || s.carriesStreams(h) || h.TLSHandshake != s.tls[len(s.tls)-1].TLSHandshake:
		return outcome{Skip, "the connection was not watched to its end"}
	case s.tunnel.end == endTruncated:
		return outcome{Fail, "the connection just ended"}
	case s.tunnel.end == endClosed:
		return outcome{grade: Pass}
	}
	return outcome{Skip, "the connection was not watched to its end"}
}

// carriesStreams reports whether the connection speaks HTTP/2. Then the end of the
// tunnel is not the end of the connection.
func (s *session) carriesStreams(h recordedTLS) bool {
	return h.before < len(s.exchanges) && s.exchanges[h.before].HTTP2
}
