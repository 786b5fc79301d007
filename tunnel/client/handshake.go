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

// hopHandshake asks one hop to connect to the next, in the protocol that the hop
// speaks.
type hopHandshake interface {
	// run returns the conn that leads through the hop, and the bytes that were read
	// from it already. After an error the caller still has to close the conn to the
	// hop, if the conn is its own.
	run(ctx context.Context) (conn net.Conn, early []byte, e *tunnel.Error)
}

var (
	_ hopHandshake = (*http1Handshake)(nil)
	_ hopHandshake = (*http2Handshake)(nil)
	_ hopHandshake = (*socksHandshake)(nil)
)

// hopRequest is what a hop is asked to do, in any protocol.
type hopRequest struct {
	client *Client
	hop    tunnel.Hop
	next   tunnel.Authority // what this hop is asked to connect to
	first  bool             // this is the first hop
	login  *login           // nil = there are no credentials, or the protocol has its own login
	extra  []Field

	fromLogin bool // the Proxy-Authorization of the last request is the login's
	reconnect bool // after an error: the login needs another connection
}

// waiting tells the Trace that the Client waits for the hop's answer to CONNECT.
func (r *hopRequest) waiting() {
	r.client.waiting("%s to answer CONNECT %s", r.hop.Name(), r.next)
}

// setHop completes e with what is known about the hop.
func (r *hopRequest) setHop(e *tunnel.Error) {
	e.Hop, e.Target, e.Scheme = r.hop.Name(), r.next, r.hop.Scheme
	if e.Login != nil {
		e.Login.LaterHop = !r.first
	}
}

// finish completes an exchange that ended with e, or without an error if e is nil, and
// passes it to the Trace.
func (r *hopRequest) finish(x *Exchange, e *tunnel.Error) {
	if e != nil {
		// The proxy may have quoted the request in its answer.
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

// refusal returns the Error for a final reply that is not 2xx, including what is known
// about the credentials in the request.
func (r *hopRequest) refusal(x *Exchange, fields []Field) *tunnel.Error {
	e := RefusalError(x.reply, x.Body)
	if e.Login == nil {
		return e
	}
	e.Login.Sent = r.login != nil && r.login.shown || !r.fromLogin && hasField(fields, "Proxy-Authorization")
	e.Login.Withheld = !e.Login.Sent && r.login != nil && r.hop.Credentials != nil
	if r.login != nil {
		e.Login.Failed = r.login.failed
	}
	e.Login.Source = r.credentialsSource()
	return e
}

// loginTrouble returns what is known about a login that the proxy did not go on with; nil
// if it was not challenged.
func (r *hopRequest) loginTrouble() *tunnel.LoginTrouble {
	l := r.login
	if l == nil || l.rounds == 0 {
		return nil
	}
	return &tunnel.LoginTrouble{Schemes: schemesOf(l.offered), Sent: l.shown, Failed: l.failed, FellSilent: l.fellSilent, Source: r.credentialsSource()}
}

// fields returns the field lines of a CONNECT request after Host.
func (r *hopRequest) fields() []Field {
	var fields []Field
	if r.client.UserAgent != "" {
		fields = append(fields, Field{Name: "User-Agent", Value: r.client.UserAgent})
	}
	value := r.login.send()
	if r.fromLogin = value != ""; r.fromLogin {
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

// credentialsSource returns, for messages, the source of the credentials in fields.
func (r *hopRequest) credentialsSource() string {
	switch {
	case r.first && hasField(r.client.Header, "Proxy-Authorization"):
		return "the Proxy-Authorization header"
	case r.hop.Credentials != nil:
		return r.hop.Credentials.Source
	}
	return ""
}

// cutError returns the Error for a connection that broke with err. It distinguishes
// our own deadline and cancellation from an end that the other side made.
func cutError(ctx context.Context, phase tunnel.Phase, err error) *tunnel.Error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &tunnel.Error{Phase: phase, Type: tunnel.ErrorConnectionTerminated, Detail: "cancelled", Err: context.Cause(ctx)}
	case neterr.Timeout(err):
		return &tunnel.Error{Phase: phase, Type: tunnel.ErrorConnectionReadTimeout, Err: neterr.Plain(err)}
	}
	return &tunnel.Error{Phase: phase, Type: tunnel.ErrorConnectionTerminated, Err: neterr.Plain(err)}
}

// verifyProxy checks the proof of identity that a 2xx must hold in some login schemes.
// It returns nil if the proof is valid or none is needed.
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
