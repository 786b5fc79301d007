package tunnel

import (
	"errors"
	"time"

	"culvert/tunnel/internal/certwords"
)

// explainTLS is for a TLS handshake, with a proxy or with the target.
func (e *Error) explainTLS() (sentence, hint string) {
	f, ok := errors.AsType[*TLSFailure](e.Err)
	if !ok {
		return e.whither() + " did not finish the TLS handshake in time", "it is overloaded or speaks no TLS: check " + e.tlsWhere("host and port") + ", or wait longer with --timeout"
	}
	sentence = "no TLS with " + e.whither() + ": " + f.Words
	if e.Hop == "" {
		return sentence, e.hintTargetTLS(f)
	}
	return sentence, e.hintProxyTLS(f)
}

// tlsWhere says where the other side can be corrected.
func (e *Error) tlsWhere(what string) string {
	if e.Hop == "" {
		return "the target's " + what
	}
	return e.where("the proxy's " + what)
}

func (e *Error) hintProxyTLS(f *TLSFailure) string {
	switch f.Problem {
	case TLSPlainHTTP:
		return "this port speaks plain HTTP: use http://" + e.Hop + " for it"
	case TLSNotTLS:
		return "this port does not speak TLS: check " + e.tlsWhere("host and port")
	case TLSHungUp:
		return "it may speak plain HTTP, for which use http://, or serve certain clients only: check " + e.tlsWhere("host and port")
	case TLSNoVersion:
		return "tell the proxy's administrator that it needs TLS 1.2 or later"
	case TLSNoProtocol:
		if e.Scheme == SchemeH2 {
			return "use https://" + e.Hop + ", to ask it in HTTP/1.1"
		}
		return "culvert speaks HTTP/2 and HTTP/1.1 to proxies: ask the proxy's administrator to offer one of them"
	case TLSWantsCertificate:
		return "give one with --cert FILE and --key FILE"
	case TLSRefusedCertificate:
		return "check --cert: it may be expired, or from an authority that this proxy does not know"
	case TLSUnknownAuthority, TLSSelfSigned:
		return "if you know that authority to be the proxy's, name its certificate with --cacert FILE, or the key itself with --insecure --pin"
	case TLSExpired, TLSNotYetValid:
		return "tell the proxy's administrator, or correct the clock here, which says " + certwords.Date(time.Now())
	case TLSWrongName:
		return "check " + e.tlsWhere("name") + ", or say under which name its certificate is to be verified with --proxy-server-name NAME"
	case TLSWrongKey:
		return "somebody may stand between, or the proxy has a new key: ask its administrator for the pin"
	}
	return "tell the proxy's administrator, or check " + e.tlsWhere("host and port")
}

func (e *Error) hintTargetTLS(f *TLSFailure) string {
	switch f.Problem {
	case TLSPlainHTTP, TLSNotTLS:
		return "this port does not speak TLS: leave --tls out, or give another port"
	case TLSHungUp:
		return "it may not speak TLS on this port, or know no such --tls-server-name"
	case TLSNoVersion:
		return "the target needs TLS 1.2 or later: tell who runs it"
	case TLSNoProtocol:
		return "offer others with --tls-alpn, or none"
	case TLSWantsCertificate:
		return "culvert has no certificate for targets: use a program that has, through the tunnel without --tls"
	case TLSUnknownAuthority, TLSSelfSigned:
		return "if you know that authority to be the target's, name its certificate with --tls-cacert FILE"
	case TLSExpired, TLSNotYetValid:
		return "tell who runs the target, or correct the clock here, which says " + certwords.Date(time.Now())
	case TLSWrongName:
		return "say under which name the certificate is to be verified with --tls-server-name NAME"
	}
	return "check " + e.tlsWhere("host and port")
}
