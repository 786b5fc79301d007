package tunnel

import "strings"

// squidErrors are what squid, the most common of proxies, says in X-Squid-Error
// of why there is no tunnel: a name, and the system's error number. Its page
// says the same, after many words.
var squidErrors = map[string]struct {
	is    ErrorType // ErrorNone = as the status has it
	words string
}{
	"ERR_ACCESS_DENIED":       {ErrorNone, "its rules do not allow this"},
	"ERR_CACHE_ACCESS_DENIED": {ErrorNone, "it wants to know who you are"},
	"ERR_CONNECT_FAIL":        {ErrorDestinationUnavailable, wordsFailed},
	"ERR_CONNECT_FAIL 110":    {ErrorConnectionTimeout, "the connection timed out"},
	"ERR_CONNECT_FAIL 111":    {ErrorConnectionRefused, "connection refused"},
	"ERR_CONNECT_FAIL 101":    {ErrorDestinationUnroutable, "network unreachable"},
	"ERR_CONNECT_FAIL 113":    {ErrorDestinationUnroutable, "no route to host"},
	"ERR_DNS_FAIL":            {ErrorDNS, "the name cannot be resolved"},
	"ERR_CANNOT_FORWARD":      {ErrorDestinationUnavailable, "it has no way there, or knows no such name"},
	"ERR_READ_TIMEOUT":        {ErrorConnectionReadTimeout, "no answer in time"},
	"ERR_FORWARDING_DENIED":   {ErrorNone, "it is not to forward this"},
	"ERR_SHUTTING_DOWN":       {ErrorInternalResponse, "it is shutting down"},
	"ERR_SOCKET_FAILURE":      {ErrorInternal, "it has no socket to spare"},
	"ERR_ZERO_SIZE_OBJECT":    {ErrorResponseIncomplete, "the next hop answered nothing"},
	"ERR_ICAP_FAILURE":        {ErrorInternal, "its content filter failed"},
}

// squidError reads X-Squid-Error; ok is false for what is not in the table.
func squidError(value string) (is ErrorType, words string, ok bool) {
	name, number, _ := strings.Cut(strings.TrimSpace(value), " ")
	found, ok := squidErrors[name+" "+number]
	if !ok {
		found, ok = squidErrors[name]
	}
	return found.is, found.words, ok
}
