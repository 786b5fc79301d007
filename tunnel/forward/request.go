package forward

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
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
	if in.Parts != nil {
		in.Record.Target, x.path, err = parseParts(head.Method, *in.Parts)
	} else {
		in.Record.Target, x.path, err = parseAbsolute(head)
	}
	if err != nil {
		return nil, tunnel.AsError(err, tunnel.PhaseRequest)
	}
	fields := head.Fields
	x.close = head.Minor == 0 || listed(fields, "Connection", "close") || listed(fields, "Proxy-Connection", "close")
	x.interim.wire, x.interim.allowed = es.wire, head.Minor == 1
	x.expects = listed(fields, "Expect", "100-continue")
	x.interim.waits = x.expects
	x.body.conn, x.body.interim = es.conn, &x.interim
	if framing.Chunked {
		if name := badTrailer(fields); name != "" {
			return nil, &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Target: in.Record.Target,
				Detail: "the request is malformed", Err: errors.New("a trailer section cannot hold " + name)}
		}
	}
	x.body.content, x.length = es.wire.Body(framing)
	if x.body.content != nil {
		return x, nil
	}
	x.body.done.Store(true)
	if head.Minor == 1 {
		x.upgrade = wantsUpgrade(fields)
	}
	return x, nil
}

// badTrailer returns the name of a field that Trailer announces and that must not be in a
// trailer section, since it frames a message (RFC 9110, section 6.5.1); "" = none.
func badTrailer(fields []wire.Field) string {
	for _, name := range []string{"Transfer-Encoding", "Content-Length", "Trailer"} {
		if listed(fields, "Trailer", name) {
			return name
		}
	}
	return ""
}

// refuseTarget returns the error for a target that is not forwarded.
func refuseTarget(status int, detail string) error {
	return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Status: status, Detail: detail}
}

// parseAbsolute splits a target in absolute-form into authority and path.
func parseAbsolute(head *wire.Request) (target tunnel.Authority, path string, err error) {
	scheme, rest, ok := strings.Cut(head.Target, "://")
	switch {
	case strings.HasPrefix(head.Target, "/"), head.Target == "*":
		return target, "", refuseTarget(http.StatusBadRequest, "this is a proxy, not a web server: configure it as your HTTP proxy, so that requests name the whole URL")
	case !ok:
		return target, "", refuseTarget(http.StatusBadRequest, "the request target is not an absolute URL")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	path = rest[end:]
	switch {
	case path == "" && head.Method == http.MethodOptions:
		path = "*" // RFC 9112, section 3.2.4
	case !strings.HasPrefix(path, "/"):
		path = "/" + path
	}
	return parseParts(head.Method, Parts{Scheme: scheme, Authority: rest[:end], Path: path})
}

// parseParts checks the parts of a target.
func parseParts(method string, p Parts) (target tunnel.Authority, path string, err error) {
	switch {
	case strings.EqualFold(p.Scheme, "https"), strings.EqualFold(p.Scheme, "wss"):
		return target, "", refuseTarget(http.StatusNotImplemented, "https goes through this proxy by CONNECT")
	case !strings.EqualFold(p.Scheme, "http") && !strings.EqualFold(p.Scheme, "ws"):
		return target, "", refuseTarget(http.StatusNotImplemented, "this proxy forwards http only")
	}
	if target, err = tunnel.ParseAuthorityDefaultPort(p.Authority, 80); err != nil {
		return target, "", refuseTarget(http.StatusBadRequest, err.Error())
	}
	switch {
	case strings.Contains(p.Path, "#"):
		return target, "", refuseTarget(http.StatusBadRequest, "a fragment is not sent to a proxy")
	case !strings.HasPrefix(p.Path, "/") && (p.Path != "*" || method != http.MethodOptions):
		return target, "", refuseTarget(http.StatusBadRequest, "the path does not begin with a slash")
	}
	return target, p.Path, nil
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
	case wire.TargetTooLong:
		e.Status = http.StatusRequestURITooLong
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

// appendHead appends the head of the request for the origin or the parent: the fields as
// they came, in their order, except those that concern the client's connection.
// credentials is the value of Proxy-Authorization; "" = none.
func (x *exchange) appendHead(b []byte, credentials string) []byte {
	last, fields := &x.exchanges.last, x.Head.Fields
	last.set(x.Record.Target)
	b = append(b, x.Head.Method...)
	b = append(b, ' ')
	b = append(b, x.target()...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", last.hostField)
	connection := hopByHopOf(fields)
	received := x.Head.Minor
	if x.HTTP2 {
		received = viaHTTP2
	}
	via, lastVia := x.exchanges.forwarder.via[received], -1
	for i := range fields {
		if isName(fields[i].Name, "Via") && !connection.has("Via") {
			lastVia = i
		}
	}
	for i := range fields {
		switch f := &fields[i]; {
		case isName(f.Name, "Host"), connection.has(f.Name):
		case i == lastVia:
			b = appendField(b, f.Name, f.Value)
			b = append(append(append(b[:len(b)-2], ", "...), via...), "\r\n"...)
		case isName(f.Name, "Expect"):
			if x.Head.Minor == 1 { // RFC 9110, section 10.1.1: 1.0 cannot wait
				b = appendField(b, f.Name, f.Value)
			}
		case isName(f.Name, "Max-Forwards") && x.maxForwards != "":
			b = appendField(b, f.Name, x.maxForwards)
		default:
			b = appendField(b, f.Name, f.Value)
		}
	}
	if lastVia < 0 {
		b = appendField(b, "Via", via)
	}
	if credentials != "" {
		b = appendField(b, "Proxy-Authorization", credentials)
	}
	trailers := listed(fields, "TE", "trailers") // RFC 9110, section 10.1.4
	switch {
	case x.switching:
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(append(b, x.upgrade...), "\r\n"...)
	case trailers:
		b = append(b, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	switch {
	case x.length > 0:
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, x.length, 10), "\r\n"...)
	case x.length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case hasContent(x.Head.Method):
		b = append(b, "Content-Length: 0\r\n"...)
	}
	return append(b, "\r\n"...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// isName reports whether a field's name is the given one, in any case.
func isName(name, want string) bool { return len(name) == len(want) && strings.EqualFold(name, want) }

// hasContent reports whether requests with a method usually have content, so that its
// absence has to be said (RFC 9110, section 8.6).
func hasContent(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// target returns the request target: path and query exactly as they came (RFC 9110,
// section 7.7), for a parent in absolute-form.
func (x *exchange) target() string {
	if !x.switching && x.absolute() {
		return "http://" + x.exchanges.last.hostField + strings.TrimPrefix(x.path, "*")
	}
	return x.path
}
