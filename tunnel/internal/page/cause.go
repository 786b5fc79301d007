package page

import (
	"cmp"
	"net/http"
	"strings"

	"culvert/tunnel/internal/wire"
)

// Cause says why a proxy opened no tunnel: in the proxy's own words, or in better
// ones for those that are known.
type Cause struct {
	Error string // the error token of RFC 9209 that fits; "" = the status decides
	Words string // not escaped
}

// ConnectionFailed is used as the words of causes that are no fault of the proxy's.
const ConnectionFailed = "the connection failed"

// knownWords lists pages of proxies that say more than their status, or something
// else. A page matches if all the texts, in lower case, are in the reason or the
// page.
var knownWords = [...]struct {
	status int // 0 = any from 400
	texts  []string
	cause  Cause // empty Words mean the page's own
}{
	{http.StatusInternalServerError, []string{"cannot find server", "dns entry"}, Cause{"dns_error", "its name server has no such name"}}, // Traffic Server
	{http.StatusNotFound, []string{"privoxy", "no such domain"}, Cause{"dns_error", "the name cannot be resolved"}},
	{http.StatusBadGateway, []string{"dns lookup failure"}, Cause{"dns_error", "the name cannot be resolved"}}, // Apache
	{http.StatusInternalServerError, []string{"tinyproxy was unable to connect"}, Cause{"destination_unavailable", ConnectionFailed}},
	{http.StatusServiceUnavailable, []string{"privoxy", "connect failed"}, Cause{"destination_unavailable", ConnectionFailed}},
	// Symantec ProxySG, with any status
	{0, []string{"(dns_server_failure)"}, Cause{"dns_timeout", "its name server failed"}},
	{0, []string{"(dns_unresolved_hostname)"}, Cause{"dns_error", "the name cannot be resolved"}},
	{0, []string{"(tcp_error)", "refused"}, Cause{"connection_refused", "connection refused"}},
	{0, []string{"(tcp_error)", "timed out"}, Cause{"connection_timeout", "the connection timed out"}},
	{0, []string{"(tcp_error)"}, Cause{"destination_unavailable", ConnectionFailed}},
	{http.StatusServiceUnavailable, []string{"no server is available to handle this request"}, Cause{"proxy_internal_error", ""}},        // HAProxy
	{http.StatusBadGateway, []string{"parent proxy unrea"}, Cause{"proxy_internal_error", "it does not reach the proxy behind it"}},      // Cntlm
	{http.StatusProxyAuthRequired, []string{"is not allowed to connect"}, Cause{"http_request_denied", "it does not serve this client"}}, // Cntlm
}

// Cause returns why there is no tunnel according to the content of a refusal: its
// text, or what that text is known to mean.
func (c Content) Cause(reply *wire.Reply) Cause {
	text := c.Text(reply.Get("Content-Type"))
	if known, ok := knownCause(reply.Code, reply.Reason+" "+text); ok {
		return Cause{known.Error, cmp.Or(known.Words, text)}
	}
	if reply.Code >= 400 && c.IsBlockPage() {
		return Cause{"http_request_denied", text}
	}
	return Cause{Words: text}
}

// knownCause looks a reason and a page up in knownWords.
func knownCause(status int, text string) (cause Cause, ok bool) {
	text = strings.ToLower(text)
candidates:
	for _, w := range knownWords {
		if w.status != status && (w.status != 0 || status < 400) {
			continue
		}
		for _, t := range w.texts {
			if !strings.Contains(text, t) {
				continue candidates
			}
		}
		return w.cause, true
	}
	return Cause{}, false
}

// BarsClient reports whether a proxy's words are about the client rather than the
// target: those of culvert, tinyproxy and Cntlm.
func BarsClient(words string) bool {
	for _, w := range [...]string{"clients from this address", "service requests from your host", "does not serve this client"} {
		if strings.Contains(words, w) {
			return true
		}
	}
	return false
}

// squidCauses lists what squid, the most common proxy, says in X-Squid-Error: a
// name, and the system's error number. Its page says the same at length.
var squidCauses = map[string]Cause{
	"ERR_ACCESS_DENIED":       {"", "its rules do not allow this"},
	"ERR_CACHE_ACCESS_DENIED": {"", "it wants to know who you are"},
	"ERR_CONNECT_FAIL":        {"destination_unavailable", ConnectionFailed},
	"ERR_CONNECT_FAIL 110":    {"connection_timeout", "the connection timed out"},
	"ERR_CONNECT_FAIL 111":    {"connection_refused", "connection refused"},
	"ERR_CONNECT_FAIL 101":    {"destination_ip_unroutable", "network unreachable"},
	"ERR_CONNECT_FAIL 113":    {"destination_ip_unroutable", "no route to host"},
	"ERR_DNS_FAIL":            {"dns_error", "the name cannot be resolved"},
	"ERR_CANNOT_FORWARD":      {"destination_unavailable", "it has no way there, or knows no such name"},
	"ERR_READ_TIMEOUT":        {"connection_read_timeout", "no answer in time"},
	"ERR_FORWARDING_DENIED":   {"", "it is not to forward this"},
	"ERR_SHUTTING_DOWN":       {"proxy_internal_response", "it is shutting down"},
	"ERR_SOCKET_FAILURE":      {"proxy_internal_error", "it has no socket to spare"},
	"ERR_ZERO_SIZE_OBJECT":    {"http_response_incomplete", "the next hop answered nothing"},
	"ERR_ICAP_FAILURE":        {"proxy_internal_error", "its content filter failed"},
}

// SquidCause looks up the value of an X-Squid-Error field; ok is false if it is not
// known.
func SquidCause(field string) (cause Cause, ok bool) {
	name, number, _ := strings.Cut(strings.TrimSpace(field), " ")
	if cause, ok = squidCauses[name+" "+number]; !ok {
		cause, ok = squidCauses[name]
	}
	return cause, ok
}
