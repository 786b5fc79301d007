package client

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/wire"
)

// maxDecodedPage bounds a refusal's content after its content coding was removed.
const maxDecodedPage = 64 << 10

// RefusalError returns the Error for a final reply that is not 2xx and whose content
// begins with body. Its type and detail are from Proxy-Status (RFC 9209), from other
// fields or from the content, in this order.
func RefusalError(reply *wire.Reply, body []byte) *tunnel.Error {
	code := reply.Code
	e := &tunnel.Error{Phase: tunnel.PhaseReply, Status: code, Type: tunnel.ErrorTypeFromStatus(code), Answer: &tunnel.AnswerTrouble{Reason: reply.Reason}}
	if e.Type == tunnel.ErrorCredentials {
		e.Login = &tunnel.LoginTrouble{Schemes: schemesOf(challenges(reply))}
	}
	if p, ok := tunnel.FirstProxyStatusError(tunnel.ParseProxyStatus(reply.Values("Proxy-Status"))); ok {
		if e.Type != tunnel.ErrorCredentials {
			e.Type = typeOr(e.Type, p.Error)
		}
		e.RCode = wire.Escape([]byte(p.RCode), 20)
		if e.Detail = p.Details; e.Detail == "" {
			e.Detail = strings.ReplaceAll(p.Error, "_", " ")
		}
	}
	if cause, ok := page.SquidCause(reply.Get("X-Squid-Error")); ok && e.Detail == "" {
		if e.Detail = cause.Words; e.Type != tunnel.ErrorCredentials {
			e.Type = typeOr(e.Type, cause.Error)
		}
	}
	// A redirect is no valid answer to CONNECT (RFC 9110, section 9.3.6), and never
	// followed. A 511 tells the client to log in at a portal (RFC 6585, section 6).
	location := reply.Get("Location")
	e.Answer.Portal = code == http.StatusNetworkAuthenticationRequired || code/100 == 3 && code != http.StatusNotModified && location != ""
	if e.Detail == "" && e.Answer.Portal && location != "" {
		e.Detail = "to " + location
	}
	if e.Detail == "" {
		e.Type, e.Detail = pageCauseOf(reply, body, e)
	}
	if e.Type != tunnel.ErrorCredentials {
		e.Login = nil
	}
	e.Detail = wire.Escape([]byte(e.Detail), MaxDetail)
	return e
}

// typeOr returns the type for an RFC 9209 token, or t if the token is unknown.
func typeOr(t tunnel.ErrorType, token string) tunnel.ErrorType {
	if known, ok := tunnel.ErrorTypeFromToken(token); ok {
		return known
	}
	return t
}

// pageCauseOf returns the type and the detail of e according to the refusal's content.
func pageCauseOf(reply *wire.Reply, body []byte, e *tunnel.Error) (is tunnel.ErrorType, detail string) {
	content, ok := decoded(reply, body)
	if !ok {
		return e.Type, "its page is encoded as " + reply.Get("Content-Encoding")
	}
	if e.Login != nil && len(e.Login.Schemes) > 0 {
		return e.Type, page.Content(content).Text(reply.Get("Content-Type"))
	}
	cause := page.Content(content).Cause(reply)
	return typeOr(e.Type, cause.Error), cause.Words
}

// decoded returns body, the start of a reply's content, without its content coding, as
// far as it can be decoded; ok is false for an unknown coding.
func decoded(reply *wire.Reply, body []byte) (content []byte, ok bool) {
	if len(body) == 0 {
		return body, true
	}
	var r io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(reply.Get("Content-Encoding"))) {
	case "", "identity":
		return body, true
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate":
		if r, err = zlib.NewReader(bytes.NewReader(body)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(body)), nil // some proxies send it without the zlib format
		}
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	content, _ = io.ReadAll(io.LimitReader(r, maxDecodedPage)) // an error, as the end of body may be missing
	return content, true
}
