package client

import (
	"context"
	"errors"
	"net"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

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
func (r *hopRequest) setHop(e *tunnel.Error) {
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
		r.setHop(e)
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
		r.client.sharedConns().rememberAnswer(value)
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

// unproven is the Error of a 2xx from a proxy that is not who it should be; nil
// = it is, or need not show.
func (r *hopRequest) verifyProxy(reply *wire.Reply) *tunnel.Error {
	err := r.login.verify(reply)
	if err == nil {
		return nil
	}
	return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: err.Error()}
}

// unanswered reports whether the proxy closed the connection without an answer.
func unanswered(e *tunnel.Error) bool {
	return e.Type == tunnel.ErrorConnectionTerminated && (e.Phase == tunnel.PhaseReply || e.Phase == tunnel.PhaseRequest) && e.Status == 0 &&
		!errors.Is(e.Err, context.Canceled)
}
