package tunnel

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel/internal/neterr"
)

// Phase is the stage in which an Error arose.
type Phase string

// The phases, in the order in which a tunnel passes them.
const (
	PhaseResolve Phase = "resolve" // looking up the addresses of a name
	PhaseConnect Phase = "connect" // connecting by TCP or to a unix socket
	PhaseTLS     Phase = "tls"     // the TLS handshake
	PhaseRequest Phase = "request" // the request head, which serve reads and dial sends
	PhaseVerify  Phase = "verify"  // verifying who the client is
	PhasePolicy  Phase = "policy"  // deciding whether the client may go there
	PhaseReply   Phase = "reply"   // the reply of the next proxy
	PhaseRelay   Phase = "relay"   // the open tunnel
)

// ErrorType is the kind of a failure. The HTTP status, the Proxy-Status token, the
// error in the log and the exit code all follow from it by errorTable.
type ErrorType uint8

// The error types of RFC 9209, section 2.3 that culvert distinguishes, and
// ErrorCredentials, for which RFC 9209 has no token of its own.
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
	ErrorResponseCoding
	ErrorProtocol
	ErrorInternalResponse
	ErrorInternal
	ErrorLoop
)

// The exit codes of dial and probe. Scripts rely on them.
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

// errorRow holds the forms of one ErrorType.
type errorRow struct {
	token  string // RFC 9209 error token, also for the log
	status int    // the status that serve answers if the Error has none of its own
	words  string // the cause for a person, also in the error page for a client
	// The exit codes if a proxy reported the failure, if a proxy itself failed, and
	// if the target failed on a direct route.
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
	ErrorResponseHeadSize:       {"http_response_header_section_size", 502, "the answer's head is too large", 7, 8, 8},
	ErrorResponseCoding:         {"http_response_transfer_coding", 502, "the answer has a transfer coding that is not known here", 7, 8, 8},
	ErrorProtocol:               {"http_protocol_error", 502, "the answer is not a proxy's", 7, 8, 8},
	ErrorInternalResponse:       {"proxy_internal_response", 503, "the proxy is shutting down", 7, 1, 1},
	ErrorInternal:               {"proxy_internal_error", 500, "internal error", 7, 1, 1},
	ErrorLoop:                   {"proxy_loop_detected", 502, "the request came back to this proxy: a loop", 7, 7, 7},
}

// String returns the RFC 9209 token, which logs use too.
func (t ErrorType) String() string { return errorTable[t].token }

// Words returns the cause as a clause without names or fields, so that an error page
// for a client may show it.
func (t ErrorType) Words() string { return errorTable[t].words }

// MarshalText implements encoding.TextMarshaler: an ErrorType is its token in JSON.
func (t ErrorType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// ErrorTypeFromToken returns the type for an RFC 9209 token, and false if culvert
// does not know the token. For http_request_denied it is ErrorDenied. That a single field
// is too large is not told apart from a head that is.
func ErrorTypeFromToken(token string) (ErrorType, bool) {
	if token == "http_response_header_size" {
		return ErrorResponseHeadSize, true
	}
	for t, row := range errorTable {
		if t != int(ErrorNone) && row.token == token {
			return ErrorType(t), true
		}
	}
	return ErrorNone, false
}

// Error is the failure of a tunnel or request in all three verbs.
type Error struct {
	Phase    Phase
	Type     ErrorType
	Status   int       // HTTP status: in PhaseReply the proxy's, else serve's answer if it is not the type's
	Target   Authority // the target asked for; zero if it was not known yet
	Hop      string    // the proxy that failed, could not be reached or reported the failure; "" = none
	Scheme   string    // of that proxy's URL, in PhaseTLS, PhaseRequest and PhaseReply; "" = unknown
	Source   string    // where the proxy was named, as "HTTPS_PROXY", for hints; "" = unknown
	Reported bool      // in PhaseReply, the proxy reported the failure in SOCKS, which has no statuses

	Answer *AnswerTrouble // the proxy's answer; nil = unknown, or no proxy was asked
	Login  *LoginTrouble  // the login that the proxy wants; nil = a login is not the cause

	RCode  string // DNS response code for ErrorDNS, as "NXDOMAIN"
	Detail string // the cause, fit for a client to see: no names, no fields; "" = the type's words
	Rule   string // the rule of the policy that decided, for the log only
	Hint   string // what the operator of the proxy can do about it, for the log only; "" = nothing
	// FullName is the name that the search list made of the target's, for the log only.
	FullName string
	Err      error // the underlying error; may be nil

	RetryAfter time.Duration // after which serve says the request has a chance; 0 = it does not say
}

// AnswerTrouble describes the answer of a proxy that opened no tunnel, or the lack of
// one.
type AnswerTrouble struct {
	Reason        string // the reason phrase of the status line, as received; "" = none
	Start         []byte // the start of an answer whose head could not be read; nil = it could, or there was no answer
	WrongProtocol bool   // the answer is in another protocol than that of the proxy's scheme
	Portal        bool   // the answer is a redirect, or asks for a login on a web page (RFC 6585, section 6)
	TriedTLS      bool   // there was no answer, and an attempt to speak TLS got none either
}

// LoginTrouble describes why a proxy that wants credentials, by 407, 401 or in
// SOCKS, did not get or accept them.
type LoginTrouble struct {
	Schemes  []string // the authentication schemes that the proxy offered
	Sent     bool     // credentials were sent
	Withheld bool     // credentials were not sent, because none of the offered schemes can be used
	Failed   error    // why a challenge was not answered; nil = it was answered, or the reason is unknown
	Source   string   // where the credentials were named, for hints; "" = the Error's Source
	LaterHop bool     // the proxy is not the first hop of its route

	// FellSilent reports that the proxy said nothing more on a connection that carried
	// its 407.
	FellSilent bool
}

// Error returns the phase, the hop or target, and the cause on one line.
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

// Cause returns the cause in words: Detail, or else the words of the type. A client
// may see it. Use package explain for a sentence that names the proxy or target.
func (e *Error) Cause() string {
	if e.Detail != "" {
		return e.Detail
	}
	return e.Type.Words()
}

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// HTTPStatus returns the status of the reply that serve sends for e.
func (e *Error) HTTPStatus() int {
	if e.Status != 0 && e.Phase != PhaseReply {
		return e.Status
	}
	return errorTable[e.Type].status
}

// ExitCode returns the exit code of dial and probe for e.
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

// ExitCode returns the exit code for an error: that of the *Error in its tree,
// ExitOK for nil, and ExitUnexpected for other errors.
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

// ErrorTypeFromStatus returns the type for the status of a proxy's final reply that
// is not 2xx. An error in its Proxy-Status field is more precise.
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

// DialErrorType returns the type for an error of resolving a name or connecting.
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
	case neterr.Lack(err) != "":
		return ErrorConnectionLimit
	case neterr.Timeout(err), errors.As(err, &timeout) && timeout.Timeout():
		return ErrorConnectionTimeout
	}
	return ErrorDestinationUnavailable
}

// AsError returns the *Error in the tree of err. Without one it returns an Error of
// type ErrorInternal and the given phase that wraps err.
func AsError(err error, phase Phase) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Phase: phase, Type: ErrorInternal, Err: err}
}

// OtherRouteMayWork reports whether another route may lead to the target: a proxy of
// this route could not be used, or did not reach the target. A refusal by a proxy
// holds for every route.
func (e *Error) OtherRouteMayWork() bool {
	switch e.Phase {
	case PhaseResolve, PhaseConnect:
		return true
	case PhaseTLS:
		return e.Hop != "" // else it is the target's certificate
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
