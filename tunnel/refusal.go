package tunnel

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"

	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// maxDecodedPage bounds a refusal's page that comes compressed.
const maxDecodedPage = 64 << 10

// refusal makes the Error of a final reply that is not 2xx.
func refusal(x *Exchange) *Error {
	code := x.reply.Code
	e := &Error{Phase: PhaseReply, Status: code, Type: statusType(code), Reason: x.reply.Reason}
	if e.Type == ErrorCredentials {
		e.Schemes = schemesOf(challenges(x.reply))
	}
	if p, ok := firstError(parseProxyStatus(x.reply.Values("Proxy-Status"))); ok {
		if e.Type != ErrorCredentials {
			e.Type = typeOr(e.Type, p.Error)
		}
		e.RCode = wire.Escape([]byte(p.RCode), 20)
		if e.Detail = p.Details; e.Detail == "" {
			e.Detail = strings.ReplaceAll(p.Error, "_", " ")
		}
	}
	if cause, ok := squidCause(x.reply.Get("X-Squid-Error")); ok && e.Detail == "" {
		if e.Detail = cause.Words; e.Type != ErrorCredentials {
			e.Type = typeOr(e.Type, cause.Error)
		}
	}
	// RFC 9110, section 9.3.6 knows no redirected CONNECT: never followed.
	// A 511 sends a client to log in (RFC 6585, section 6).
	location := x.reply.Get("Location")
	e.portal = code == http.StatusNetworkAuthenticationRequired || code/100 == 3 && code != http.StatusNotModified && location != ""
	if e.Detail == "" && e.portal && location != "" {
		e.Detail = "to " + location
	}
	if e.Detail == "" {
		e.Type, e.Detail = pageCauseOf(x, e)
	}
	e.Detail = wire.Escape([]byte(e.Detail), maxDetail)
	return e
}

// unfinished reports whether the content may still be on its way, when n bytes came
// after what was read of it. What ends with the connection and is silent is not.
func (x *Exchange) unfinished(n int64) bool {
	framing, err := x.reply.Framing()
	framed := err == nil && (framing.Chunked || framing.Length >= 0)
	return neterr.Timeout(x.bodyError) && (framed || n > 0) || len(x.Body) == maxExcerpt && n > 0
}

// typeOr returns the type of an RFC 9209 token, or t if culvert knows none of it.
func typeOr(t ErrorType, token string) ErrorType {
	if known, ok := ErrorTypeFromToken(token); ok {
		return known
	}
	return t
}

// pageCauseOf returns the type and the cause that a refusal's content gives e.
func pageCauseOf(x *Exchange, e *Error) (is ErrorType, detail string) {
	content, ok := x.decoded()
	if !ok {
		return e.Type, "its page is encoded as " + x.reply.Get("Content-Encoding")
	}
	if len(e.Schemes) > 0 {
		return e.Type, pageContent(content).Text(x.reply.Get("Content-Type"))
	}
	cause := pageContent(content).Cause(x.reply)
	return typeOr(e.Type, cause.Error), cause.Words
}

// decoded is Body without its content coding (RFC 9110, section 8.4.1), as far as
// it goes; ok is false for one that is not known.
func (x *Exchange) decoded() (page []byte, ok bool) {
	if len(x.Body) == 0 || x.reply == nil {
		return x.Body, true
	}
	var r io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(x.reply.Get("Content-Encoding"))) {
	case "", "identity":
		return x.Body, true
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(x.Body))
	case "deflate":
		if r, err = zlib.NewReader(bytes.NewReader(x.Body)); err != nil {
			r, err = flate.NewReader(bytes.NewReader(x.Body)), nil // as some understand the word
		}
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	page, _ = io.ReadAll(io.LimitReader(r, maxDecodedPage)) // of Body, the end may be missing
	return page, true
}
