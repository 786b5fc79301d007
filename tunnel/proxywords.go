package tunnel

import (
	"net/http"
	"strings"
)

// wordsFailed is a cause that rules out that the proxy itself is the trouble.
const wordsFailed = "the connection failed"

// proxyWords are pages of proxies that say more than their status, or another
// thing: all the texts, in lower case, are in the reason and the page.
var proxyWords = [...]struct {
	status int // 0 = any from 400
	texts  []string
	is     ErrorType
	words  string // "" = the page's
}{
	{http.StatusInternalServerError, []string{"cannot find server", "dns entry"}, ErrorDNS, "its name server has no such name"}, // Traffic Server
	{http.StatusNotFound, []string{"privoxy", "no such domain"}, ErrorDNS, "the name cannot be resolved"},
	{http.StatusBadGateway, []string{"dns lookup failure"}, ErrorDNS, "the name cannot be resolved"}, // Apache
	{http.StatusInternalServerError, []string{"tinyproxy was unable to connect"}, ErrorDestinationUnavailable, wordsFailed},
	{http.StatusServiceUnavailable, []string{"privoxy", "connect failed"}, ErrorDestinationUnavailable, wordsFailed},
	// Symantec ProxySG, whatever the status.
	{0, []string{"(dns_server_failure)"}, ErrorDNSTimeout, "its name server failed"},
	{0, []string{"(dns_unresolved_hostname)"}, ErrorDNS, "the name cannot be resolved"},
	{0, []string{"(tcp_error)", "refused"}, ErrorConnectionRefused, "connection refused"},
	{0, []string{"(tcp_error)", "timed out"}, ErrorConnectionTimeout, "the connection timed out"},
	{0, []string{"(tcp_error)"}, ErrorDestinationUnavailable, wordsFailed},
	{http.StatusServiceUnavailable, []string{"no server is available to handle this request"}, ErrorInternal, ""},       // HAProxy
	{http.StatusBadGateway, []string{"parent proxy unrea"}, ErrorInternal, "it does not reach the proxy behind it"},     // Cntlm
	{http.StatusProxyAuthRequired, []string{"is not allowed to connect"}, ErrorDenied, "it does not serve this client"}, // Cntlm
}

// wordedError finds what a page says in proxyWords.
func wordedError(status int, text string) (is ErrorType, words string, ok bool) {
	text = strings.ToLower(text)
candidates:
	for _, w := range proxyWords {
		if w.status != status && (w.status != 0 || status < 400) {
			continue
		}
		for _, t := range w.texts {
			if !strings.Contains(text, t) {
				continue candidates
			}
		}
		return w.is, w.words, true
	}
	return ErrorNone, "", false
}

// barsClient reports whether the proxy's words are about who asks, not about
// the target: those of culvert, tinyproxy and Cntlm.
func barsClient(words string) bool {
	for _, w := range [...]string{"clients from this address", "service requests from your host", "does not serve this client"} {
		if strings.Contains(words, w) {
			return true
		}
	}
	return false
}
