package tunnel

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"

	"culvert/tunnel/internal/neterr"
)

// Phase is the stage of the flow in which an Error arose.
type Phase string

// The phases, in the order in which a tunnel passes them.
const (
	PhaseResolve Phase = "resolve" // a name to addresses
	PhaseConnect Phase = "connect" // TCP, or a unix socket
	PhaseTLS     Phase = "tls"
	PhaseRequest Phase = "request" // the request head: read by serve, sent by dial
	PhaseVerify  Phase = "verify"  // who is the client
	PhasePolicy  Phase = "policy"  // may the client go there
	PhaseReply   Phase = "reply"   // what the next proxy answered
	PhaseRelay   Phase = "relay"   // the open tunnel
)

// ErrorType is the kind of a failure. The HTTP status, the Proxy-Status token, the
// metric label, the log's error and the exit code all follow from it, by
// errorTable.
type ErrorType uint8

// The error types of RFC 9209, section 2.3 that culvert tells apart, and
// ErrorCredentials, for which RFC 9209 has no word of its own.
const (
	ErrorNone ErrorType = iota
	ErrorDNS
	ErrorDNSTimeout
	ErrorConnectionRefused
	ErrorConnectionTimeout
	ErrorConnectionTerminated
	ErrorConnectionReadTimeout
	ErrorConnectionLimit
	ErrorDestinationUnavailable
	ErrorDestinationProhibited
	ErrorDestinationUnroutable
	ErrorTLSProtocol
	ErrorTLSCertificate
	ErrorRequest
	ErrorDenied
	ErrorCredentials
	ErrorResponseIncomplete
	ErrorResponseHeadSize
	ErrorProtocol
	ErrorInternalResponse
	ErrorInternal
	ErrorLoop
)

// Exit codes of dial and probe: a promise to scripts.
const (
	ExitOK               = 0
	ExitUnexpected       = 1
	ExitUsage            = 2
	ExitProxyUnreachable = 3
	ExitProxyTLS         = 4
	ExitCredentials      = 5
	ExitRefused          = 6
	ExitTarget           = 7
	ExitNotAProxy        = 8
	ExitDeadline         = 9
	ExitBroken           = 10
	ExitCheck            = 11
)

// errorRow is one ErrorType in each of its forms.
type errorRow struct {
	token  string // RFC 9209 error token; log, metrics
	status int    // what serve answers when the Error has no status of its own
	words  string // the cause for a person, in a client's error page too
	// Exit codes: a proxy reported the failure, a proxy itself failed, or the
	// target did, to which there is no proxy.
	reportedExit, proxyExit, targetExit int
}

var errorTable = [...]errorRow{
	ErrorNone:                   {"", 500, "", 1, 1, 1},
	ErrorDNS:                    {"dns_error", 502, "the name could not be resolved", 7, 3, 7},
	ErrorDNSTimeout:             {"dns_timeout", 504, "the name server did not answer in time", 7, 9, 9},
	ErrorConnectionRefused:      {"connection_refused", 502, "connection refused", 7, 3, 7},
	ErrorConnectionTimeout:      {"connection_timeout", 504, "the connection was not accepted in time", 7, 9, 9},
	ErrorConnectionTerminated:   {"connection_terminated", 502, "the connection was closed before an answer", 7, 8, 10},
	ErrorConnectionReadTimeout:  {"connection_read_timeout", 504, "no answer in time", 7, 9, 9},
	ErrorConnectionLimit:        {"connection_limit_reached", 503, "too many tunnels are open", 7, 1, 1},
	ErrorDestinationUnavailable: {"destination_unavailable", 502, "the target is not available", 7, 3, 7},
	ErrorDestinationProhibited:  {"destination_ip_prohibited", 403, "the address is not allowed", 6, 6, 6},
	ErrorDestinationUnroutable:  {"destination_ip_unroutable", 502, "there is no route to the address", 7, 3, 7},
	ErrorTLSProtocol:            {"tls_protocol_error", 502, "the TLS handshake failed", 7, 4, 4},
	ErrorTLSCertificate:         {"tls_certificate_error", 502, "the TLS certificate is not trusted", 7, 4, 4},
	ErrorRequest:                {"http_request_error", 400, "the request is malformed", 8, 2, 2},
	ErrorDenied:                 {"http_request_denied", 403, "the target is not allowed", 6, 6, 6},
	ErrorCredentials:            {"http_request_denied", 407, "credentials are wanted", 5, 5, 5},
	ErrorResponseIncomplete:     {"http_response_incomplete", 502, "the answer was cut short", 7, 8, 8},
	ErrorResponseHeadSize:       {"http_response_header_size", 502, "the answer's head is too large", 7, 8, 8},
	ErrorProtocol:               {"http_protocol_error", 502, "the answer is not a proxy's", 7, 8, 8},
	ErrorInternalResponse:       {"proxy_internal_response", 503, "the proxy is shutting down", 7, 1, 1},
	ErrorInternal:               {"proxy_internal_error", 500, "internal error", 7, 1, 1},
	ErrorLoop:                   {"proxy_loop_detected", 502, "the request came back to this proxy: a loop", 7, 7, 7},
}

// String returns the RFC 9209 token, the word used in logs and metrics.
func (t ErrorType) String() string { return errorTable[t].token }

// Words returns the cause in a sentence's form, without names or fields, so
// that it may stand in an error page.
func (t ErrorType) Words() string { return errorTable[t].words }

// MarshalText makes ErrorType its token in JSON.
func (t ErrorType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// ErrorTypeFromToken returns the type of an RFC 9209 token, and false for one
// that culvert does not know. http_request_denied is ErrorDenied.
func ErrorTypeFromToken(token string) (ErrorType, bool) {
	for t, row := range errorTable {
		if t != int(ErrorNone) && row.token == token {
			return ErrorType(t), true
		}
	}
	return ErrorNone, false
}

// Error is the one failure type of all three verbs.
type Error struct {
	Phase    Phase
	Type     ErrorType
	Status   int       // HTTP status: serve's answer if not the type's own; in PhaseReply the proxy's
	Target   Authority // what was asked for; zero if it was not known yet
	Hop      string    // the proxy that failed, could not be reached, or reported it; "" = none
	Scheme   string    // of that proxy's URL, in PhaseTLS, PhaseRequest and PhaseReply; "" = unknown
	Source   string    // what named the proxy, as "HTTPS_PROXY", for hints; "" = unknown
	Reported bool      // in PhaseReply, the proxy reported it in a protocol that has no statuses: SOCKS

	Answer *AnswerTrouble // what is known of the proxy's answer; nil = nothing, or no proxy was asked
	Login  *LoginTrouble  // of a proxy that wants credentials, or other ones; nil = that is not why

	RCode  string // DNS response code for ErrorDNS, as "NXDOMAIN"
	Detail string // the cause, fit for a client's eyes: no names, no fields; "" = the type's words
	Rule   string // the policy rule that decided; for the log only
	Err    error  // what lies beneath, may be nil
}

// AnswerTrouble is what is known of a proxy's answer that opened no tunnel.
type AnswerTrouble struct {
	Reason        string // the status line's reason phrase as it came, "" = none
	Start         []byte // the start of an answer whose head could not be read, nil = it could, or none came
	WrongProtocol bool   // the answer is in another protocol than the proxy's scheme says
	Portal        bool   // it is a redirect to somewhere, or says that a login is to be made there
	TriedTLS      bool   // there was no answer, nor one to an attempt to speak TLS there
}

// LoginTrouble is what is known of a proxy that wants credentials: it answered 407
// or 401, or asked for a login in SOCKS.
type LoginTrouble struct {
	Schemes  []string // the authentication schemes that were offered
	Sent     bool     // credentials went with a request
	Withheld bool     // credentials were not sent, because no scheme that was offered could be used
	Failed   error    // why a challenge was not answered; nil = it was, or the reason is not known
	Source   string   // what named the credentials, for hints; "" = the Error's Source
	LaterHop bool     // the proxy is not the first of its route
}

// Error names the phase, the hop or target, and the cause, on one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Phase))
	switch {
	case e.Hop != "":
		b.WriteString(" (proxy " + e.Hop + ")")
	case !e.Target.IsZero():
		b.WriteString(" " + e.Target.String())
	}
	b.WriteString(": " + e.Cause())
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Cause is Detail, or the type's words.
func (e *Error) Cause() string {
	if e.Detail != "" {
		return e.Detail
	}
	return e.Type.Words()
}

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Err }

// HTTPStatus returns the status that serve answers for e.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 && e.Phase != PhaseReply {
		return e.Status
	}
	return errorTable[e.Type].status
}

// ExitCode returns dial's and probe's exit code for e.
func (e *Error) ExitCode() int {
	row := errorTable[e.Type]
	switch {
	case e.Phase == PhaseRelay:
		return ExitBroken
	case e.Phase == PhaseReply && (e.Status != 0 || e.Reported):
		return row.reportedExit
	case e.Hop != "":
		return row.proxyExit
	}
	return row.targetExit
}

// ExitCode returns the exit code for any error: that of an *Error inside it,
// ExitOK for nil, ExitUnexpected for others.
func ExitCode(err error) int {
	var e *Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.ExitCode()
	}
	return ExitUnexpected
}

// StatusType is the type of a proxy's final reply that is not 2xx, as long as no
// Proxy-Status error says more.
func ErrorTypeFromStatus(status int) ErrorType {
	switch {
	case status == http.StatusProxyAuthRequired, status == http.StatusUnauthorized:
		return ErrorCredentials
	case status >= 300 && status < 400, status == http.StatusForbidden, status == http.StatusTooManyRequests,
		status == http.StatusUnavailableForLegalReasons, status == http.StatusNetworkAuthenticationRequired:
		return ErrorDenied
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable:
		return ErrorDestinationUnavailable
	case status == http.StatusGatewayTimeout:
		return ErrorConnectionTimeout
	}
	return ErrorRequest
}

// DialErrorType classifies an error of resolving or connecting.
func DialErrorType(err error) ErrorType {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return ErrorDNSTimeout
		}
		return ErrorDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return ErrorConnectionRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return ErrorDestinationUnroutable
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return ErrorConnectionLimit
	case neterr.Timeout(err), errors.As(err, &timeout) && timeout.Timeout():
		return ErrorConnectionTimeout
	}
	return ErrorDestinationUnavailable
}

// AsError returns the *Error in err, or wraps it as an internal one.
func AsError(err error, phase Phase) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Phase: phase, Type: ErrorInternal, Err: err}
}

// MayRouteAround reports whether another route may lead to the target: this one could
// not be taken, or did not reach it. A proxy's refusal holds for every route.
func (e *Error) OtherRouteMayWork() bool {
	switch e.Phase {
	case PhaseResolve, PhaseConnect:
		return true
	case PhaseTLS:
		return e.Hop != "" // and not the target's certificate
	case PhaseRequest, PhaseReply:
	default:
		return false
	}
	switch e.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return e.ExitCode() == ExitTarget
	}
	return e.Reported && e.ExitCode() == ExitTarget || e.Status == 0 && e.Type == ErrorConnectionReadTimeout
}
