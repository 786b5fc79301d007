package forward

import (
	"net/http"
	"strings"
)

// Negotiate and NTLM authenticate a connection, not one request (RFC 4559,
// section 6): the next request on it is treated as the same user's. So once a
// client connection has carried such credentials, its connections to origins are
// no longer shared with other clients.

// authenticatesConnection reports whether Authorization values are of that kind.
func authenticatesConnection(values []string) bool {
	for _, value := range values {
		scheme, _, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			return true
		}
	}
	return false
}

// transport returns the Transport that carries the request.
func (x *exchange) transport() *http.Transport {
	shared, es := x.exchanges.forwarder.transport(x.route), x.exchanges
	if es.own == nil {
		if !authenticatesConnection(x.header["Authorization"]) {
			return shared
		}
		es.own = make(map[*http.Transport]*http.Transport)
	}
	if es.own[shared] == nil {
		es.own[shared] = shared.Clone()
	}
	return es.own[shared]
}
