package page

import (
	"cmp"
	"net/http"
	"strings"

	"culvert/tunnel/internal/wire"
)

// Cause is why a proxy opened no tunnel, in its own words or for words of its
// that are known.
type Cause struct {
	Error string // the error token of RFC 9209 that fits; "" = the status says it
	Words string // not escaped
}

// ConnectionFailed is the words of a cause that rules out a fault of the proxy's own.
const ConnectionFailed = "the connection failed"

// knownWords are pages of proxies that say more than their status, or something
// else: all the texts, in lower case, are in the reason and the page.
var knownWords = [...]struct {
	status int // 0 = any from 400
	texts  []string
	cause  Cause // Words "" = the page's
}{
	{http.StatusInternalServerError, []string{"cannot find server", "dns entry"}, Cause{"dns_error", "its name server has no such name"}}, // Traffic Server
	{http.StatusNotFound, []string{"privoxy", "no such domain"}, Cause{"dns_error", "the name cannot be resolved"}},
	{http.StatusBadGateway, []string{"dns lookup failure"}, Cause{"dns_error", "the name cannot be resolved"}}, // Apache
	{http.StatusInternalServerError, []string{"tinyproxy was unable to connect"}, Cause{"destination_unavailable", ConnectionFailed}},
	{http.StatusServiceUnavailable, []string{"privoxy", "connect failed"}, Cause{"destination_unavailable", ConnectionFailed}},
	// Symantec ProxySG, whatever the status.
	{0, []string{"(dns_server_failure)"}, Cause{"dns_timeout", "its name server failed"}},
	{0, []string{"(dns_unresolved_hostname)"}, Cause{"dns_error", "the name cannot be resolved"}},
	{0, []string{"(tcp_error)", "refused"}, Cause{"connection_refused", "connection refused"}},
	{0, []string{"(tcp_error)", "timed out"}, Cause{"connection_timeout", "the connection timed out"}},
	{0, []string{"(tcp_error)"}, Cause{"destination_unavailable", ConnectionFailed}},
	{http.StatusServiceUnavailable, []string{"no server is available to handle this request"}, Cause{"proxy_internal_error", ""}},        // HAProxy
	{http.StatusBadGateway, []string{"parent proxy unrea"}, Cause{"proxy_internal_error", "it does not reach the proxy behind it"}},      // Cntlm
	{http.StatusProxyAuthRequired, []string{"is not allowed to connect"}, Cause{"http_request_denied", "it does not serve this client"}}, // Cntlm
}

// Cause returns what the content of a refusal says of why there is no tunnel: its
// text, or what that is known to mean.
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

// knownCause finds in knownWords what a reason and a page say.
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

// BarsClient reports whether a proxy's words are about the client, not about the
// target: those of culvert, tinyproxy and Cntlm.
func BarsClient(words string) bool {
	for _, w := range [...]string{"clients from this address", "service requests from your host", "does not serve this client"} {
		if strings.Contains(words, w) {
			return true
		}
	}
	return false
}
