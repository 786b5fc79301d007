package page

import "strings"

// squidCauses are what squid, the most common of proxies, says in X-Squid-Error
// of why there is no tunnel: a name, and the system's error number. Its page
// says the same, after many words.
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

// SquidCause reads X-Squid-Error; ok is false for what is not in the table.
func SquidCause(field string) (cause Cause, ok bool) {
	name, number, _ := strings.Cut(strings.TrimSpace(field), " ")
	if cause, ok = squidCauses[name+" "+number]; !ok {
		cause, ok = squidCauses[name]
	}
	return cause, ok
}
