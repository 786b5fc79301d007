package forward

import (
	"net/http"
	"strings"
)

// Negotiate and NTLM authenticate a connection, not a request (RFC 4559, section 6): the
// next request on it is treated as the same user's. So once a client connection has
// carried such credentials, it no longer shares connections to origins with other
// clients.

// authenticatesConnection reports whether Authorization values authenticate a
// connection.
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
