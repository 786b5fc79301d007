package explain

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

// noTLS explains a TLS handshake that failed, with a proxy or with the target.
func (x explanation) noTLS() (sentence, hint string) {
	f, ok := errors.AsType[*client.TLSFailure](x.Err)
	if !ok {
		return x.destination() + " did not finish the TLS handshake in time", "it is overloaded or speaks no TLS: check " + x.tlsSetting("host and port") + ", or wait longer with --timeout"
	}
	sentence = "no TLS with " + x.destination() + ": " + f.Words
	if x.Hop == "" {
		return sentence, x.targetTLSHint(f)
	}
	return sentence, x.proxyTLSHint(f)
}

// tlsSetting names a setting of the peer and, if known, its source.
func (x explanation) tlsSetting(what string) string {
	if x.Hop == "" {
		return "the target's " + what
	}
	return x.setting("the proxy's " + what)
}

func (x explanation) proxyTLSHint(f *client.TLSFailure) string {
	switch f.Problem {
	case client.TLSPlainHTTP:
		return "this port speaks plain HTTP: use http://" + x.Hop + " for it"
	case client.TLSNotTLS:
		return "this port does not speak TLS: check " + x.tlsSetting("host and port")
	case client.TLSHungUp:
		return "it may speak plain HTTP, for which use http://, or serve certain clients only: check " + x.tlsSetting("host and port")
	case client.TLSNoVersion:
		return "tell the proxy's administrator that it needs TLS 1.2 or later"
	case client.TLSNoProtocol:
		if x.Scheme == tunnel.SchemeH2 {
			return "use https://" + x.Hop + ", to ask it in HTTP/1.1"
		}
		return "culvert speaks HTTP/2 and HTTP/1.1 to proxies: ask the proxy's administrator to offer one of them"
	case client.TLSWantsCertificate:
		return "give one with --cert FILE and --key FILE"
	case client.TLSRefusedCertificate:
		return "check --cert: it may be expired, or from an authority that this proxy does not know"
	case client.TLSUnknownAuthority, client.TLSSelfSigned:
		return "if you know that authority to be the proxy's, name its certificate with --cacert FILE, or the key itself with --insecure --pin"
	case client.TLSExpired, client.TLSNotYetValid:
		return "tell the proxy's administrator, or correct the clock here, which says " + certwords.Date(time.Now())
	case client.TLSWrongName:
		return "check " + x.tlsSetting("name") + ", or say under which name its certificate is to be verified with --proxy-server-name NAME"
	case client.TLSWrongKey:
		return "somebody may stand between, or the proxy has a new key: ask its administrator for the pin"
	}
	return "tell the proxy's administrator, or check " + x.tlsSetting("host and port")
}

func (x explanation) targetTLSHint(f *client.TLSFailure) string {
	switch f.Problem {
	case client.TLSPlainHTTP, client.TLSNotTLS:
		return "this port does not speak TLS: leave --tls out, or give another port"
	case client.TLSHungUp:
		return "it may not speak TLS on this port, or know no such --tls-server-name"
	case client.TLSNoVersion:
		return "the target needs TLS 1.2 or later: tell who runs it"
	case client.TLSNoProtocol:
		return "offer others with --tls-alpn, or none"
	case client.TLSWantsCertificate:
		return "culvert has no certificate for targets: use a program that has, through the tunnel without --tls"
	case client.TLSUnknownAuthority, client.TLSSelfSigned:
		return "if you know that authority to be the target's, name its certificate with --tls-cacert FILE"
	case client.TLSExpired, client.TLSNotYetValid:
		return "tell who runs the target, or correct the clock here, which says " + certwords.Date(time.Now())
	case client.TLSWrongName:
		return "say under which name the certificate is to be verified with --tls-server-name NAME"
	}
	return "check " + x.tlsSetting("host and port")
}

// TLS describes a handshake in lines for people: version, cipher suite, ALPN and
// certificate, or why the handshake failed. The lines contain no control character.
func TLS(h *client.TLSHandshake) []string {
	if h.Err != nil {
		sentence, _ := Error(h.Err)
		return []string{sentence}
	}
	leaf := h.State.PeerCertificates[0]
	return []string{
		fmt.Sprintf("TLS with %s: %s, %s, %s; verified by %s", h.Peer(), tls.VersionName(h.State.Version),
			tls.CipherSuiteName(h.State.CipherSuite), certwords.ALPN(wire.Escape([]byte(h.State.NegotiatedProtocol), client.MaxDetail)), h.Verified()),
		fmt.Sprintf("its certificate: %s, %s", certwords.Certificate(leaf), certwords.Days(certwords.DaysLeft(leaf, h.Started))),
	}
}
