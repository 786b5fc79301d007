package forward

import (
	"errors"
	"net/http"
	"net/textproto"
	"strings"

	"culvert/tunnel/internal/wire"
)

// hopByHop lists the fields that concern one connection only and are never forwarded,
// whether Connection names them or not (RFC 9110, section 7.6.1), and the framing, which
// is written anew for each connection.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authorization", "Proxy-Authenticate",
	"Te", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Content-Length",
}

// removeHopByHop removes the hop-by-hop fields and those that Connection names.
func removeHopByHop(h http.Header) {
	for _, name := range wire.Tokens(h["Connection"]) {
		delete(h, textproto.CanonicalMIMEHeaderKey(name))
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

var errFieldName = errors.New("there is whitespace in a field's name")

// checkNames refuses whitespace before a colon (RFC 9112, section 5.1), which the library
// reads as part of the name.
func checkNames(h http.Header) error {
	for name := range h {
		if strings.Contains(name, " ") {
			return errFieldName
		}
	}
	return nil
}

// cleanTrailer removes the fields that a trailer must not have: those that route or frame
// a message, and those that concern one connection (RFC 9110, section 6.5.1).
func cleanTrailer(t http.Header) {
	removeHopByHop(t)
	delete(t, "Host")
	delete(t, "Trailer")
}

// viaFields holds the values of a Via field with this proxy as its only member, for
// messages of HTTP/1.0, HTTP/1.1 and HTTP/2. They are shared, and must not be changed.
type viaFields [3][]string

// viaHTTP2 is the index of HTTP/2. The index of HTTP/1 is its minor version.
const viaHTTP2 = 2

func newViaFields(pseudonym string) *viaFields {
	return &viaFields{{"1.0 " + pseudonym}, {"1.1 " + pseudonym}, {"2 " + pseudonym}}
}

// appendVia adds this proxy to Via (RFC 9110, section 7.6.3).
func appendVia(h http.Header, received int, own *viaFields) {
	add := own[received]
	if have := h["Via"]; have != nil {
		add = []string{strings.Join(append(have[:len(have):len(have)], add[0]), ", ")}
	}
	h["Via"] = add
}

// wantsUpgrade returns the protocols to which a request offers to change, or "". An
// upgrade to HTTP/2 is ignored: its frames would carry requests that the policy has not
// judged.
func wantsUpgrade(h http.Header) string {
	upgrade := strings.Join(h["Upgrade"], ", ")
	if upgrade == "" || !wire.HasToken(h["Connection"], "upgrade") || wire.HasToken(h["Upgrade"], "h2c") {
		return ""
	}
	return upgrade
}
