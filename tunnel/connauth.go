package tunnel

import (
	"net/http"
	"strings"
)

// Negotiate and NTLM vouch for a connection, not for one request (RFC 4559,
// section 6): whoever's request goes over it next is taken for the same user.
// So the connections to origins of a client connection that carried such
// credentials are shared with nobody from then on.

// vouchForConnection reports whether Authorization values are of that kind.
func vouchForConnection(values []string) bool {
	for _, value := range values {
		scheme, _, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			return true
		}
	}
	return false
}

// transport is the one that carries the request.
func (x *plainExchange) transport() *http.Transport {
	shared, es := x.of.forwarder.transport(x.route), x.of
	if es.own == nil {
		if !vouchForConnection(x.header["Authorization"]) {
			return shared
		}
		es.own = make(map[*http.Transport]*http.Transport)
	}
	if es.own[shared] == nil {
		es.own[shared] = shared.Clone()
	}
	return es.own[shared]
}
