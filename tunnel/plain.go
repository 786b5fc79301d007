package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/wire"
)

// servePlain serves one request that is no CONNECT, and reports whether the
// connection is good for a further one.
func (c *clientConn) servePlain(head *wire.Request) bool {
	rec := c.newRecord(head)
	x, e := c.plainRequest(head, rec)
	if e == nil {
		e = c.judgePlain(x)
	}
	if e != nil {
		c.refuse(rec, e, head.Method == http.MethodHead)
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

// judgePlain applies the stages of the spine to a plain request.
func (c *clientConn) judgePlain(x *plainExchange) *Error {
	s := c.server
	user, e := s.verify(credentials(x.head), c.addr)
	if e != nil {
		return e
	}
	x.rec.User = user
	decision := c.at.policy.JudgeTarget(x.target)
	x.rec.Rule = decision.Rule
	if e := decision.err(x.target); e != nil {
		return e
	}
	if s.run.draining.Load() {
		return &Error{Phase: PhasePolicy, Type: ErrorInternalResponse, Target: x.target, Rule: "draining"}
	}
	if s.isLoop(x.head) {
		return &Error{Phase: PhaseRequest, Type: ErrorLoop, Target: x.target}
	}
	x.route = s.route(x.target)
	if !x.route.Direct() {
		x.rec.Via = x.route.String()
		return c.at.judgeLiteral(x.target)
	}
	return nil
}

// plainExchange is one plain request on its way to its answer.
type plainExchange struct {
	c       *clientConn
	rec     *Record
	head    *wire.Request
	target  Authority
	path    string // path and query, as they came
	route   Route
	upgrade string // the protocol to change to, "" = none
	in      *http.Request
	body    *requestBody
	interim interim
	started time.Time // when the next hop was first turned to
	pending pendingReply

	reused   bool          // the request went out on a connection that had carried one before
	upstream *upstreamConn // in the transport's hands; nil until there is one
	down     atomic.Int64  // bytes of the reply's content that the client took
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
	c.source.back = append(rewritten(head, framing), c.buffered()...)
	c.br.Reset(&c.source)
	if x.in, err = http.ReadRequest(c.br); err != nil {
		return nil, &Error{Phase: PhaseRequest, Type: ErrorRequest, Target: x.target, Detail: "the request is malformed", Err: err}
	}
	x.interim = interim{w: c.conn, allowed: head.Minor == 1, waits: wire.HasToken(head.Values("Expect"), "100-continue")}
	if x.in.Trailer == nil && framing.Chunked {
		x.in.Trailer = make(http.Header) // for trailers that were not announced
	}
	cleanTrailer(x.in.Trailer)
	x.body = &requestBody{content: x.in.Body, conn: c.conn, interim: &x.interim, trailer: x.in.Trailer}
	x.body.done.Store(framing.Length <= 0 && !framing.Chunked)
	if head.Minor == 1 && x.body.done.Load() {
		x.upgrade = wantsUpgrade(x.in.Header)
	}
	return x, nil
}

// buffered takes what lies behind the head out of the reader.
func (c *clientConn) buffered() []byte {
	rest := make([]byte, c.br.Buffered()+len(c.source.back))
	io.ReadFull(c.br, rest)
	return rest
}

// rewritten is the head as the standard library shall see it: only what wire
// has accepted, every line ended by CRLF, one Content-Length. The target is
// left out, so that the library need not agree with what parseAbsolute takes.
func rewritten(head *wire.Request, framing wire.Framing) []byte {
	var b bytes.Buffer
	b.Grow(len(head.Raw) + 16)
	b.WriteString(head.Method + " / HTTP/1." + strconv.Itoa(head.Minor) + "\r\n")
	for _, f := range head.Fields {
		if framing.Length < 0 || !strings.EqualFold(f.Name, "Content-Length") {
			b.WriteString(f.Name + ": " + f.Value + "\r\n")
		}
	}
	if framing.Length >= 0 {
		b.WriteString("Content-Length: " + strconv.FormatInt(framing.Length, 10) + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
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

// outgoing is the request as the origin or the parent gets it.
func (x *plainExchange) outgoing(ctx context.Context) *http.Request {
	header := x.in.Header
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
	if !x.head.Has("Cache-Control") {
		delete(header, "Cache-Control") // which the library made of Pragma
	}
	appendVia(header, x.head.Minor, x.c.server.pseudonym())
	if header["User-Agent"] == nil {
		header["User-Agent"] = []string{""} // none, and not the library's own
	}
	out := &http.Request{
		Method: x.in.Method, Header: header, Trailer: x.in.Trailer, ContentLength: x.in.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL: x.url(), Host: x.target.hostHeader(80),
	}
	if !x.body.done.Load() {
		out.Body, out.TransferEncoding = x.body, x.in.TransferEncoding
	}
	return out.WithContext(httptrace.WithClientTrace(ctx, x.trace()))
}

// url carries path and query as they came (RFC 9110, section 7.7).
func (x *plainExchange) url() *url.URL {
	host := "//" + x.target.hostHeader(80)
	u := &url.URL{Scheme: "http", Host: x.target.String(), Opaque: x.path}
	switch {
	case !x.route.Direct(): // absolute-form
		u.Opaque = host + strings.TrimPrefix(x.path, "*")
	case strings.HasPrefix(x.path, "//"): // Opaque would be taken for an authority
		path, query, ask := strings.Cut(x.path, "?")
		u.Opaque, u.RawPath, u.RawQuery, u.ForceQuery = "", path, query, ask
		u.Path, _ = url.PathUnescape(path)
		if u.EscapedPath() != path {
			// The library would correct it. Every server takes absolute-form
			// too (RFC 9112, section 3.2.2).
			*u = url.URL{Scheme: "http", Host: x.target.String(), Opaque: host + x.path}
		}
	}
	return u
}

// failure answers and logs a request that got no answer from the next hop.
func (x *plainExchange) failure(err error, alive bool) {
	fault, left := x.body.fault()
	x.body.leave()
	x.rec.Up = x.body.n.Load()
	e := x.transportError(err)
	switch {
	case left:
		x.c.server.clientLeft(x.rec, fault)
		return
	case !alive:
		x.c.server.clientLeft(x.rec, context.Canceled)
		return
	case fault != nil:
		e = &Error{Phase: PhaseRequest, Type: ErrorRequest, Target: x.target, Detail: "the request's content is malformed", Err: fault}
	}
	x.c.refuse(x.rec, e, x.in.Method == http.MethodHead)
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
	case isTimeout(err):
		return &Error{Phase: PhaseReply, Type: ErrorConnectionReadTimeout, Target: x.target, Err: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isReset(err), !x.interim.answered():
		return &Error{Phase: PhaseReply, Type: ErrorConnectionTerminated, Target: x.target, Err: err}
	}
	return malformedReply(x.target, err)
}

func malformedReply(target Authority, err error) *Error {
	return &Error{Phase: PhaseReply, Type: ErrorProtocol, Target: target, Detail: "the answer is not valid HTTP", Err: err}
}
