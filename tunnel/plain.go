package tunnel

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// servePlain serves one request that is no CONNECT, and reports whether the
// connection is good for a further one.
func (c *clientConn) servePlain(head *wire.Request) bool {
	protocol := protocolName(head.Minor)
	if c.minor = head.Minor; c.wire.received() == viaHTTP2 {
		protocol = protocolHTTP2
	}
	rec := c.newRecord(head.Method, protocol)
	x, e := c.plainRequest(head, rec)
	if e == nil {
		e = c.judgePlain(x)
	}
	if e != nil {
		c.wire.refuse(rec, e, head.Method == http.MethodHead)
		return false
	}
	if done, keep := x.answerHere(); done {
		return keep
	}
	if x.upgrade != "" {
		return x.serveUpgrade()
	}
	return x.forward()
}

// judgePlain applies the stages of the spine to a plain request; it takes no
// slot among the tunnels.
func (c *clientConn) judgePlain(x *plainExchange) *Error {
	s := c.server
	a := asked{target: x.target, client: c.addr, user: c.user, credentials: x.header["Proxy-Authorization"], via: x.head.Values("Via")}
	if e := c.at.judge(a, x.rec); e != nil {
		return e
	}
	if s.run.draining.Load() {
		return &Error{Phase: PhasePolicy, Type: ErrorInternalResponse, Target: x.target, Rule: "draining"}
	}
	rule := s.rule(x.target)
	x.or = rule.Or
	return x.take(rule.Route)
}

// take sends the request by a route.
func (x *plainExchange) take(route Route) *Error {
	x.route, x.rec.Via = route, ""
	if route.Direct() {
		return nil
	}
	x.rec.Via = route.String()
	return x.c.at.judgeLiteral(x.target)
}

// absolute reports whether the next hop is a parent that gets absolute-form.
func (x *plainExchange) absolute() bool { return x.c.server.forwards(x.route) }

// plainExchange is one plain request on its way to its answer.
type plainExchange struct {
	c       *clientConn
	rec     *Record
	head    *wire.Request
	target  Authority
	path    string // path and query, as they came
	route   Route
	or      []Route     // to be tried where that cannot be taken
	upgrade string      // the protocol to change to, "" = none
	header  http.Header // the request's, what is hop-by-hop included until outgoing
	length  int64       // of the request's content; -1 = chunked
	close   bool        // the client wants its connection closed
	body    requestBody
	interim interim
	started time.Time // when the next hop was first turned to
	pending pendingReply
	phase   exchangePhase

	repeatable bool          // the request may be sent twice
	reused     bool          // it went out on a connection that had carried one before
	stale      bool          // which had ended, so that it did not go out
	upstream   *upstreamConn // in the transport's hands; nil until there is one
	down       atomic.Int64  // bytes of the reply's content that the client took
}

// plainRequest parses what is asked for: absolute-form only (RFC 9112, section
// 3.2.2).
func (c *clientConn) plainRequest(head *wire.Request, rec *Record) (*plainExchange, *Error) {
	x := &plainExchange{c: c, rec: rec, head: head}
	if err := head.CheckHost(); err != nil {
		return nil, requestError(err)
	}
	framing, err := head.Framing()
	if err != nil {
		return nil, requestError(err)
	}
	if x.target, x.path, err = parseAbsolute(head); err != nil {
		return nil, asError(err, PhaseRequest)
	}
	rec.Target = x.target
	x.header = headerOf(head)
	x.close = head.Minor == 0 || wire.HasToken(x.header["Connection"], "close") || wire.HasToken(x.header["Proxy-Connection"], "close")
	x.interim.wire, x.interim.allowed = c.wire, head.Minor == 1
	x.interim.waits = wire.HasToken(x.header["Expect"], "100-continue")
	x.body.conn, x.body.interim = c.conn, &x.interim
	if w, ok := c.wire.(framedWire); ok {
		x.body.content, x.body.trailer, x.length = w.body(framing)
	} else if framing.Length > 0 || framing.Chunked {
		return x, x.content(framing)
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

// headerOf is the fields but Host, which the target replaces (RFC 9112,
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

// content begins to read the request's content, of which the library gets to
// know nothing but the framing that wire has accepted.
func (x *plainExchange) content(framing wire.Framing) *Error {
	body, err := wire.NewBody(x.c.br, framing, x.header["Trailer"])
	if err != nil {
		return &Error{Phase: PhaseRequest, Type: ErrorRequest, Target: x.target, Detail: "the request is malformed", Err: err}
	}
	if x.length = framing.Length; framing.Chunked {
		delete(x.header, "Trailer") // the transport writes it anew
	}
	cleanTrailer(body.Trailer)
	x.body.content, x.body.trailer = body, body.Trailer
	return nil
}

// parseAbsolute takes an absolute-form target apart.
func parseAbsolute(head *wire.Request) (target Authority, path string, err error) {
	refuse := func(status int, detail string) (Authority, string, error) {
		return Authority{}, "", &Error{Phase: PhaseRequest, Type: ErrorRequest, Status: status, Detail: detail}
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
	if target, err = parseHostDefaultPort(authority, 80); err != nil {
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

// blank is what outgoing requests are made from: a request with a context can
// only be had as a copy.
var blank http.Request

// outgoing is the request as the origin or the parent gets it.
func (x *plainExchange) outgoing(ctx context.Context) *http.Request {
	header := x.header
	trailers := wire.HasToken(header["Te"], "trailers")
	expect := header["Expect"]
	removeHopByHop(header)
	if trailers { // RFC 9110, section 10.1.4
		header["Te"], header["Connection"] = []string{"trailers"}, []string{"TE"}
	}
	if expect != nil && x.head.Minor == 1 { // RFC 9110, section 10.1.1: 1.0 cannot wait
		header["Expect"] = expect
	} else {
		delete(header, "Expect")
	}
	appendVia(header, x.c.wire.received(), x.c.at.forward.via)
	if header["User-Agent"] == nil {
		header["User-Agent"] = []string{""} // none, and not the library's own
	}
	x.c.plain.last.set(x.target)
	out := blank.WithContext(ctx)
	out.Method, out.Header, out.Trailer = x.head.Method, header, x.body.trailer
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	out.URL, out.Host = x.url(), x.c.plain.last.hostField
	if !x.body.done.Load() {
		if out.Body, out.ContentLength = &x.body, x.length; x.length < 0 {
			out.TransferEncoding = []string{"chunked"}
		}
	}
	x.repeatable = out.Body == nil && idempotent(out.Method)
	return out
}

// url carries path and query as they came (RFC 9110, section 7.7).
func (x *plainExchange) url() *url.URL {
	last := &x.c.plain.last
	u := &url.URL{Scheme: "http", Host: last.text, Opaque: x.path}
	switch {
	case x.absolute(): // absolute-form
		u.Opaque = "//" + last.hostField + strings.TrimPrefix(x.path, "*")
	case strings.HasPrefix(x.path, "//"): // Opaque would be taken for an authority
		path, query, ask := strings.Cut(x.path, "?")
		u.Opaque, u.RawPath, u.RawQuery, u.ForceQuery = "", path, query, ask
		u.Path, _ = url.PathUnescape(path)
		if u.EscapedPath() != path {
			// The library would correct it. Every server takes absolute-form
			// too (RFC 9112, section 3.2.2).
			*u = url.URL{Scheme: "http", Host: last.text, Opaque: "//" + last.hostField + x.path}
		}
	}
	return u
}

// failure answers and logs a request that got no answer from the next hop.
func (x *plainExchange) failure(err error, end watchEnd) {
	fault, left := x.body.fault()
	x.body.leave()
	x.rec.Up = x.body.n.Load()
	e := x.transportError(err)
	switch {
	case end == clientSilent:
		e, x.rec.ClosedBy = x.silenceError(), ClosedByIdle
	case left:
		x.rec.ClientLeft(fault)
		x.c.server.logRequest(x.rec)
		return
	case end == clientGone:
		x.rec.ClientLeft(context.Canceled)
		x.c.server.logRequest(x.rec)
		return
	case fault != nil:
		e = &Error{Phase: PhaseRequest, Type: ErrorRequest, Target: x.target, Detail: "the request's content is malformed", Err: fault}
	}
	x.c.wire.refuse(x.rec, e, x.head.Method == http.MethodHead)
}

// transportError is the verdict on a request that got no answer.
func (x *plainExchange) transportError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		out := *e
		if out.Target.IsZero() {
			out.Target = x.target
		}
		return &out
	case x.c.server.run.ctx.Err() != nil:
		return &Error{Phase: PhaseReply, Type: ErrorInternalResponse, Target: x.target, Rule: "draining", Err: err}
	case neterr.Timeout(err):
		return &Error{Phase: PhaseReply, Type: ErrorConnectionReadTimeout, Target: x.target, Err: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), neterr.Reset(err), !x.interim.answered():
		return &Error{Phase: PhaseReply, Type: ErrorConnectionTerminated, Target: x.target, Err: err}
	}
	return malformedReply(x.target, err)
}

func malformedReply(target Authority, err error) *Error {
	return &Error{Phase: PhaseReply, Type: ErrorProtocol, Target: target, Detail: "the answer is not valid HTTP", Err: err}
}
