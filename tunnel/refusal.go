package tunnel

import (
	"bytes"
	"cmp"
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
		if t, known := ErrorTypeFromToken(p.Error); known && e.Type != ErrorCredentials {
			e.Type = t
		}
		e.RCode = wire.Escape([]byte(p.RCode), 20)
		if e.Detail = p.Details; e.Detail == "" {
			e.Detail = strings.ReplaceAll(p.Error, "_", " ")
		}
	}
	if is, words, ok := squidError(x.reply.Get("X-Squid-Error")); ok && e.Detail == "" {
		if e.Detail = words; is != ErrorNone && e.Type != ErrorCredentials {
			e.Type = is
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
		e.tellPage(x)
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

// tellPage takes the cause from the refusal's content.
func (e *Error) tellPage(x *Exchange) {
	page, ok := x.decoded()
	if !ok {
		e.Detail = "its page is encoded as " + x.reply.Get("Content-Encoding")
		return
	}
	e.Detail = excerptText(page, x.reply.Get("Content-Type"))
	if len(e.Schemes) > 0 {
		return
	}
	if is, words, ok := wordedError(e.Status, e.Reason+" "+e.Detail); ok {
		e.Type, e.Detail = is, cmp.Or(words, e.Detail)
	} else if e.Status >= 400 && isBlockPage(string(page)) {
		e.Type = ErrorDenied
	}
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
