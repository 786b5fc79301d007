package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
)

// MaxInterim is how many 1xx replies a Client reads past.
const MaxInterim = 16

// MaxExchangeBytes bounds what a Client reads of one exchange over HTTP/1.
const MaxExchangeBytes = (MaxInterim+2)*wire.DefaultMaxHead + 2*maxExcerpt + 2*maxLoginBody

// Limits on what a proxy may send before the tunnel is open.
const (
	maxExcerpt = 16 << 10    // bytes of a refusal's body that are read
	MaxDetail  = 200         // characters of the proxy's own words
	bodyWait   = time.Second // for a refusal's body
)

// Exchange is one CONNECT request and its reply, as they went over the wire.
// Parts that never came are empty or zero.
type Exchange struct {
	Hop      tunnel.Hop       // the proxy spoken to
	HTTP2    bool             // heads are those of a stream of HTTP/2, written a field a line
	Next     tunnel.Authority // what it was asked for
	Request  []byte           // the head as sent; holds credentials
	Interim  [][]byte         // heads of 1xx replies
	Reply    []byte           // the final reply's head, exact
	Body     []byte           // the start of a refusal's content, transfer coding removed
	Started  time.Time        // before the request was written
	Sent     time.Time        // the request was written
	FirstIn  time.Time        // the reply's first byte was there
	Complete time.Time        // the final head's blank line was there
	Glued    int              // bytes that were read together with the reply, behind its head
	Err      error            // why there is no open tunnel, an *Error; nil if there is

	// What became of the connection after a refusal, if that was watched.
	Watched  bool
	KeptOpen bool

	reply     *wire.Reply     // nil unless Reply is whole
	replyErr  *wire.HeadError // why Reply is not
	bodyError error           // why Body broke off; nil if it is whole or long enough
}

// Head is the final reply's head, nil unless it came whole.
func (x *Exchange) Head() *wire.Reply { return x.reply }

// HeadError is why Reply is not a whole head, nil if it is or nothing came.
func (x *Exchange) HeadError() *wire.HeadError { return x.replyErr }

// ContentError is why Body broke off, nil if it is whole or as long as a Client
// reads.
func (x *Exchange) ContentError() error { return x.bodyError }

// Schemes are the authentication schemes that the reply offers, in order and once
// each (RFC 9110, section 11.6.1). They are tokens.
func (x *Exchange) Schemes() []string {
	if x.reply == nil {
		return nil
	}
	return schemesOf(challenges(x.reply))
}

// Page is Body without its content coding (RFC 9110, section 8.4.1), as far as it
// goes; ok is false for a coding that is not known.
func (x *Exchange) Page() (content []byte, ok bool) {
	if x.reply == nil {
		return x.Body, true
	}
	return decoded(x.reply, x.Body)
}

// hopHandshake has one hop lead on to what it is asked for, in the protocol that
// the hop speaks.
type hopHandshake interface {
	// run returns the conn that leads on from the hop, and what was read of it
	// already. On an error the caller still has to close the conn to the hop, if
	// it has one of its own.
	run(ctx context.Context) (conn net.Conn, early []byte, e *tunnel.Error)
}

var (
	_ hopHandshake = (*http1Handshake)(nil)
	_ hopHandshake = (*http2Handshake)(nil)
	_ hopHandshake = (*socksHandshake)(nil)
)

// hopRequest is what a hop is asked for, whatever protocol it speaks.
type hopRequest struct {
	client *Client
	hop    tunnel.Hop
	next   tunnel.Authority // what this hop is asked for
	first  bool             // the first hop
	login  *login           // nil = there are no credentials, or the protocol has a login of its own
	extra  []Field

	reconnect bool // after an error: the login wants another connection
}

// waiting tells that the hop's answer to CONNECT is waited for.
func (r *hopRequest) waiting() {
	r.client.waiting("%s to answer CONNECT %s", r.hop.Name(), r.next)
}

// fail completes an Error of this hop's.
func (r *hopRequest) fail(e *tunnel.Error) {
	e.Hop, e.Target, e.Scheme = r.hop.Name(), r.next, r.hop.Scheme
	if e.Login != nil {
		e.Login.LaterHop = !r.first
	}
}

// finish completes what is known of an exchange that ended with e or nil, and
// passes it to the Trace.
func (r *hopRequest) finish(x *Exchange, e *tunnel.Error) {
	if e != nil {
		// An answer may quote the request.
		mask := r.client.Masker(false)
		if e.Detail = mask.Text(e.Detail); e.Answer != nil {
			e.Answer.Reason = mask.Text(e.Answer.Reason)
		}
		r.fail(e)
		x.Err = e
	}
	if t := r.client.Trace; t != nil && t.Exchanged != nil {
		t.Exchanged(x)
	}
}

// refusal is the Error of a final reply that is not 2xx, and what is known of the
// credentials that went before it.
func (r *hopRequest) refusal(x *Exchange, fields []Field) *tunnel.Error {
	e := RefusalError(x.reply, x.Body)
	if e.Login == nil {
		return e
	}
	e.Login.Sent = hasField(fields, "Proxy-Authorization") || r.login != nil && r.login.shown
	e.Login.Withheld = !e.Login.Sent && r.login != nil && r.hop.Credentials != nil
	if r.login != nil {
		e.Login.Failed = r.login.failed
	}
	e.Login.Source = r.credentialsSource()
	return e
}

// fields are the field lines of a CONNECT request behind Host.
func (r *hopRequest) fields() []Field {
	var fields []Field
	if r.client.UserAgent != "" {
		fields = append(fields, Field{Name: "User-Agent", Value: r.client.UserAgent})
	}
	if value := r.login.send(); value != "" {
		r.client.sharedConns().showed(value)
		fields = append(fields, Field{Name: "Proxy-Authorization", Value: value})
	}
	for _, f := range r.client.Header {
		if r.first || !strings.EqualFold(f.Name, "Proxy-Authorization") {
			fields = setField(fields, f)
		}
	}
	return append(fields, r.extra...)
}

// credentialsSource is what named the credentials that fields holds.
func (r *hopRequest) credentialsSource() string {
	switch {
	case r.first && hasField(r.client.Header, "Proxy-Authorization"):
		return "the Proxy-Authorization header"
	case r.hop.Credentials != nil:
		return r.hop.Credentials.Source
	}
	return ""
}

// http1Handshake is a CONNECT over HTTP/1.
type http1Handshake struct {
	*hopRequest
	conn net.Conn
	br   *bufio.Reader // over conn; keeps what lies behind the reply's head
}

// run sends CONNECT and reads the reply (RFC 9110, section 9.3.6), in as many
// rounds as a login takes over one connection. On success the tunnel begins with
// the early bytes.
func (h *http1Handshake) run(ctx context.Context) (conn net.Conn, early []byte, e *tunnel.Error) {
	for kept := false; ; kept = true {
		again, here, e := h.round(ctx)
		switch {
		case e == nil:
			return h.conn, buffered(h.br), nil
		case again && here:
			continue
		case kept && unanswered(e):
			again = h.login.hungUp(h.next)
		}
		h.reconnect = again
		return nil, nil, e
	}
}

// round is one request and its reply. After an error, again reports that the
// request is to be sent again, with other credentials, and here that it is over the
// same connection.
func (h *http1Handshake) round(ctx context.Context) (again, here bool, e *tunnel.Error) {
	fields := h.fields()
	h.waiting()
	x := &Exchange{Hop: h.hop, Next: h.next, Request: requestHead(h.next, fields), Started: time.Now()}
	e = h.converse(ctx, x)
	// RFC 9110, section 9.3.6: any 2xx opens the tunnel, at the blank line;
	// Content-Length and Transfer-Encoding in it are ignored.
	switch {
	case e != nil:
	case x.reply.Code/100 == 2:
		x.Glued = h.br.Buffered()
		e = h.unproven(x.reply)
	default:
		kept := h.readRefusal(ctx, x)
		again, here = h.login.challenged(x.reply, h.next, kept)
		if w := h.client.Watch; w != nil && w.RefusalWait > 0 && !again {
			h.client.waiting("%s to close after its refusal", h.hop.Name())
			h.watchClose(ctx, w.RefusalWait, x)
		}
		e = h.refusal(x, fields)
	}
	h.finish(x, e)
	return again, here, e
}

// buffered returns what was read and not used; nil = nothing.
func buffered(br *bufio.Reader) []byte {
	if br.Buffered() == 0 {
		return nil
	}
	early, _ := br.Peek(br.Buffered())
	return early
}

// converse writes the request and reads replies up to the final one's head.
func (h *http1Handshake) converse(ctx context.Context, x *Exchange) *tunnel.Error {
	release := sock.InterruptOnDone(ctx, h.conn)
	defer release()
	if _, err := h.conn.Write(x.Request); err != nil && !neterr.Reset(err) {
		return h.cut(ctx, tunnel.PhaseRequest, err)
	} // A proxy that refuses unread may still have answered.
	x.Sent = time.Now()
	for {
		if x.FirstIn.IsZero() {
			if _, err := h.br.Peek(1); err != nil {
				return h.headError(ctx, x, err)
			}
			x.FirstIn = time.Now()
		}
		reply, err := wire.ReadReply(h.br, wire.DefaultMaxHead)
		if err != nil {
			return h.headError(ctx, x, err)
		}
		// RFC 9110, section 15.2: interim replies are read past. 101 is final
		// in effect and no answer to CONNECT.
		if reply.Code >= 200 || reply.Code == http.StatusSwitchingProtocols {
			x.Complete, x.Reply, x.reply = time.Now(), reply.Raw, reply
			return nil
		}
		if x.Interim = append(x.Interim, reply.Raw); len(x.Interim) > MaxInterim {
			return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: "interim replies without end"}
		}
	}
}

// requestHead is the CONNECT request: authority-form, Host the same, no framing
// fields and no Proxy-Connection (RFC 9110, section 9.3.6; RFC 9112, section
// 3.2.3).
func requestHead(next tunnel.Authority, fields []Field) []byte {
	var b bytes.Buffer
	b.WriteString("CONNECT " + next.String() + " HTTP/1.1\r\nHost: " + next.String() + "\r\n")
	for _, f := range fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// setField adds a field. An empty value removes all of that name instead, and
// those that occur once are replaced.
func setField(fields []Field, f Field) []Field {
	once := strings.EqualFold(f.Name, "User-Agent") || strings.EqualFold(f.Name, "Proxy-Authorization")
	if f.Value == "" || once {
		fields = slices.DeleteFunc(fields, func(have Field) bool { return strings.EqualFold(have.Name, f.Name) })
	}
	if f.Value == "" {
		return fields
	}
	return append(fields, f)
}

func hasField(fields []Field, name string) bool {
	return slices.ContainsFunc(fields, func(f Field) bool { return strings.EqualFold(f.Name, name) })
}

// cut is cutError, unless TLS is what failed.
func (h *http1Handshake) cut(ctx context.Context, phase tunnel.Phase, err error) *tunnel.Error {
	if secured, ok := h.conn.(*clientTLS); ok {
		if e := secured.lateFailure(err); e != nil {
			return e
		}
	}
	return cutError(ctx, phase, err)
}

// cutError tells a deadline and a cancellation of ours from a connection that
// was cut.
func cutError(ctx context.Context, phase tunnel.Phase, err error) *tunnel.Error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &tunnel.Error{Phase: phase, Type: tunnel.ErrorConnectionTerminated, Detail: "cancelled", Err: context.Cause(ctx)}
	case neterr.Timeout(err):
		return &tunnel.Error{Phase: phase, Type: tunnel.ErrorConnectionReadTimeout, Err: neterr.Plain(err)}
	}
	return &tunnel.Error{Phase: phase, Type: tunnel.ErrorConnectionTerminated, Err: neterr.Plain(err)}
}

// headError classifies a reply whose head did not come whole.
func (h *http1Handshake) headError(ctx context.Context, x *Exchange, err error) *tunnel.Error {
	var head *wire.HeadError
	if !errors.As(err, &head) {
		e := h.cut(ctx, tunnel.PhaseReply, err)
		if e.Type == tunnel.ErrorConnectionTerminated && errors.Is(err, io.EOF) {
			e.Err = nil // the type's words say it
		}
		return e
	}
	x.Reply, x.replyErr = head.Raw, head
	if head.Err != nil && ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return cutError(ctx, tunnel.PhaseReply, head.Err)
	}
	if odd := page.OddHTTP(head.Raw); odd != "" && head.Problem == wire.NotHTTP {
		head.Problem, head.Detail = wire.Malformed, odd
	}
	e := &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: head.Detail, Answer: &tunnel.AnswerTrouble{Start: head.Raw, WrongProtocol: head.Problem == wire.NotHTTP}}
	switch head.Problem {
	case wire.TooLarge:
		e.Type = tunnel.ErrorResponseHeadSize
	case wire.NotHTTP:
		e.Detail = "the answer is not HTTP: it begins with \"" + wire.Escape(head.Raw, 40) + "\""
	case wire.Truncated:
		e.Type, e.Detail, e.Err = tunnel.ErrorResponseIncomplete, "", neterr.Plain(head.Err)
		if neterr.Timeout(head.Err) {
			e.Type = tunnel.ErrorConnectionReadTimeout
		}
	}
	return e
}

// readRefusal reads what the proxy says for itself, for a second at most. It
// reports whether the connection can carry another request: seldom, as RFC 9931
// has proxies close it.
func (h *http1Handshake) readRefusal(ctx context.Context, x *Exchange) (kept bool) {
	ctx, cancel := context.WithTimeout(ctx, bodyWait)
	defer cancel()
	release := sock.InterruptOnDone(ctx, h.conn)
	defer release()
	content := newContent(h.br, x.reply)
	x.Body, x.bodyError = content.excerpt()
	return x.bodyError == nil && h.login != nil && persists(x.reply) && content.finish() && h.br.Buffered() == 0
}

// watchClose notes whether the proxy closes after its refusal, as RFC 9931
// demands it of a refused CONNECT over HTTP/1.1.
func (h *http1Handshake) watchClose(ctx context.Context, wait time.Duration, x *Exchange) {
	watch, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	release := sock.InterruptOnDone(watch, h.conn)
	defer release()
	n, err := io.CopyN(io.Discard, h.br, maxExcerpt)
	// A proxy that still sends, or that our own deadline left no time to
	// close, is not judged.
	x.Watched = err != nil && ctx.Err() == nil && !(neterr.Timeout(err) && x.unfinished(n))
	x.KeptOpen = x.Watched && neterr.Timeout(err)
}

// unanswered reports whether the proxy closed the connection without an answer.
func unanswered(e *tunnel.Error) bool {
	return e.Type == tunnel.ErrorConnectionTerminated && (e.Phase == tunnel.PhaseReply || e.Phase == tunnel.PhaseRequest) && e.Status == 0 &&
		!errors.Is(e.Err, context.Canceled)
}
