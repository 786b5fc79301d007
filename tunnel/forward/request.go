package forward

import (
	"context"
	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// newExchange parses a request, whose target must be in absolute-form (RFC 9112,
// section 3.2.2).
func (es *Exchanges) newExchange(in Incoming) (*exchange, *tunnel.Error) {
	x := &exchange{Incoming: in, exchanges: es}
	head := in.Head
	if err := head.CheckHost(); err != nil {
		return nil, RequestError(err)
	}
	framing, err := head.Framing()
	if err != nil {
		return nil, RequestError(err)
	}
	if in.Record.Target, x.path, err = parseAbsolute(head); err != nil {
		return nil, tunnel.AsError(err, tunnel.PhaseRequest)
	}
	x.header = headerOf(head)
	x.close = head.Minor == 0 || wire.HasToken(x.header["Connection"], "close") || wire.HasToken(x.header["Proxy-Connection"], "close")
	x.interim.wire, x.interim.allowed = es.wire, head.Minor == 1
	x.interim.waits = wire.HasToken(x.header["Expect"], "100-continue")
	x.body.conn, x.body.interim = es.conn, &x.interim
	x.body.content, x.body.trailer, x.length, err = es.wire.Body(framing, x.header["Trailer"])
	if err != nil {
		return nil, &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Target: in.Record.Target, Detail: "the request is malformed", Err: err}
	}
	if framing.Chunked {
		delete(x.header, "Trailer") // the transport writes its own
	}
	if x.body.content != nil {
		return x, nil
	}
	x.body.done.Store(true)
	if head.Minor == 1 {
		x.upgrade = wantsUpgrade(x.header)
	}
	return x, nil
}

// headerOf returns a head's fields except Host, which the target replaces (RFC 9112,
// section 3.2.2).
func headerOf(head *wire.Request) http.Header {
	header, values := make(http.Header, len(head.Fields)), make([]string, len(head.Fields))
	for i, f := range head.Fields {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		if have := header[name]; have != nil {
			header[name] = append(have, f.Value)
		} else if name != "Host" {
			values[i] = f.Value
			header[name] = values[i : i+1 : i+1]
		}
	}
	return header
}

// parseAbsolute splits a target in absolute-form into authority and path.
func parseAbsolute(head *wire.Request) (target tunnel.Authority, path string, err error) {
	refuse := func(status int, detail string) (tunnel.Authority, string, error) {
		return tunnel.Authority{}, "", &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Status: status, Detail: detail}
	}
	scheme, rest, ok := strings.Cut(head.Target, "://")
	switch {
	case strings.HasPrefix(head.Target, "/"), head.Target == "*":
		return refuse(http.StatusBadRequest, "this is a proxy, not a web server: configure it as your HTTP proxy, so that requests name the whole URL")
	case !ok:
		return refuse(http.StatusBadRequest, "the request target is not an absolute URL")
	case strings.EqualFold(scheme, "https"), strings.EqualFold(scheme, "wss"):
		return refuse(http.StatusNotImplemented, "https goes through this proxy by CONNECT")
	case !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "ws"):
		return refuse(http.StatusNotImplemented, "this proxy forwards http only")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	if target, err = tunnel.ParseAuthorityDefaultPort(authority, 80); err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if strings.Contains(path, "#") {
		return refuse(http.StatusBadRequest, "a fragment is not sent to a proxy")
	}
	switch {
	case path == "" && head.Method == http.MethodOptions:
		path = "*" // RFC 9112, section 3.2.4
	case !strings.HasPrefix(path, "/"):
		path = "/" + path
	}
	return target, path, nil
}

// RequestError returns the Error for a request head that package wire refuses, with the
// status of each problem. The Status is 0 if the client left within its
// head, and so cannot be answered.
func RequestError(err error) *tunnel.Error {
	var head *wire.HeadError
	if !errors.As(err, &head) {
		return tunnel.AsError(err, tunnel.PhaseRequest)
	}
	e := &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Status: http.StatusBadRequest, Detail: head.Detail, Err: head.Err}
	switch head.Problem {
	case wire.TooLarge:
		e.Status = http.StatusRequestHeaderFieldsTooLarge
	case wire.Unsupported:
		e.Status = http.StatusNotImplemented
	case wire.BadVersion:
		e.Status = http.StatusHTTPVersionNotSupported
	case wire.Truncated:
		e.Status, e.Detail = 0, "the client left within its request"
		if neterr.Timeout(head.Err) {
			e.Status, e.Detail = http.StatusRequestTimeout, "the request head did not arrive in time"
		}
	}
	return e
}

// blank is copied for every outgoing request, since only a copy can have a context.
var blank http.Request

// outgoing returns the request for the origin or the parent.
func (x *exchange) outgoing(ctx context.Context) *http.Request {
	header := x.header
	trailers := wire.HasToken(header["Te"], "trailers")
	expect := header["Expect"]
	removeHopByHop(header)
	if trailers { // RFC 9110, section 10.1.4
		header["Te"], header["Connection"] = []string{"trailers"}, []string{"TE"}
	}
	if expect != nil && x.Head.Minor == 1 { // RFC 9110, section 10.1.1: 1.0 cannot wait
		header["Expect"] = expect
	} else {
		delete(header, "Expect")
	}
	received := x.Head.Minor
	if x.HTTP2 {
		received = viaHTTP2
	}
	appendVia(header, received, x.exchanges.forwarder.via)
	if header["User-Agent"] == nil {
		header["User-Agent"] = []string{""} // so that the library does not add its own
	}
	x.exchanges.last.set(x.Record.Target)
	out := blank.WithContext(ctx)
	out.Method, out.Header, out.Trailer = x.Head.Method, header, x.body.trailer
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	out.URL, out.Host = x.url(), x.exchanges.last.hostField
	if !x.body.done.Load() {
		if out.Body, out.ContentLength = &x.body, x.length; x.length < 0 {
			out.TransferEncoding = []string{"chunked"}
		}
	}
	x.repeatable = out.Body == nil && idempotent(out.Method)
	return out
}

// url returns a URL with path and query exactly as they came (RFC 9110, section 7.7).
func (x *exchange) url() *url.URL {
	last := &x.exchanges.last
	u := &url.URL{Scheme: "http", Host: last.text, Opaque: x.path}
	switch {
	case x.absolute(): // absolute-form
		u.Opaque = "//" + last.hostField + strings.TrimPrefix(x.path, "*")
	case strings.HasPrefix(x.path, "//"): // in Opaque it would be read as an authority
		path, query, ask := strings.Cut(x.path, "?")
		u.Opaque, u.RawPath, u.RawQuery, u.ForceQuery = "", path, query, ask
		u.Path, _ = url.PathUnescape(path)
		if u.EscapedPath() != path {
			// The library would correct the path. Every server must accept
			// absolute-form (RFC 9112, section 3.2.2).
			*u = url.URL{Scheme: "http", Host: last.text, Opaque: "//" + last.hostField + x.path}
		}
	}
	return u
}
