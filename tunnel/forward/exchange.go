package forward

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// Next says what the caller does with a client's connection after an exchange.
type Next uint8

const (
	// NextClose: close it, unless Wire.Give has given it away.
	NextClose Next = iota

	// NextDrain: close it so that the client can read the reply first, although bytes
	// of the client may be unread (RFC 9112, section 9.6). The reader over the conn
	// may still be in use.
	NextDrain

	// NextRequest: read another request from it.
	NextRequest
)

// Serve serves one request, and returns when it has ended. The requests of a connection
// are served one after the other.
func (es *Exchanges) Serve(in Incoming) Next {
	headOnly := in.Head.Method == http.MethodHead
	x, e := es.newExchange(in)
	if e == nil {
		defer x.Holds.End()
		e = x.check()
	}
	if e != nil {
		if x != nil {
			x.Holds.End()
		}
		es.wire.Refuse(in.Record, e, headOnly)
		return NextClose
	}
	if next, done := x.answerHere(); done {
		return next
	}
	if x.upgrade != "" {
		return x.upgradeProtocol()
	}
	return x.forward()
}

// check applies the Host's checks, and chooses the route.
func (x *exchange) check() *tunnel.Error {
	if e := x.host().Check(&x.Incoming); e != nil {
		return e
	}
	var first tunnel.Route
	first, x.others = x.host().Routes(x.Record.Target)
	return x.takeRoute(first)
}

// takeRoute sets the request's route.
func (x *exchange) takeRoute(route tunnel.Route) *tunnel.Error {
	x.route, x.parent, x.Record.Via = route, nil, ""
	if route.Direct() {
		return nil
	}
	x.parent = x.exchanges.forwarder.parentOf(route)
	x.Record.Via = route.String()
	return x.host().JudgeAddr(x.Record.Target)
}

// absolute reports whether the request goes to a parent in absolute-form.
func (x *exchange) absolute() bool { return x.parent != nil && x.parent.forwards }

// exchange is one request and its reply.
type exchange struct {
	Incoming
	exchanges   *Exchanges
	path        string // path and query, as they came
	route       tunnel.Route
	parent      *parent        // of route; nil = direct
	others      []tunnel.Route // tried in order if route cannot be taken
	upgrade     string         // the protocol to change to, "" = none
	switching   bool           // the request asks for it, on a connection to the origin
	maxForwards string         // the value to send; "" = as it came
	length      int64          // of the request's content in bytes; -1 = not known
	close       bool           // the client wants its connection closed
	expects     bool           // the request has Expect: 100-continue
	body        requestBody
	interim     interim
	started     time.Time // when the next hop was first asked
	pending     pendingReply
	phase       exchangePhase
	down        atomic.Int64 // bytes of the reply's content written to the client

	upload    upload
	replyHead ReplyHead
	content   wire.Content // of the reply
	copies    bool         // the content cannot be spliced

	mu       sync.Mutex
	upstream *upstream // in use; nil = none. Only Serve changes it, with mu held
	aborted  bool      // everything must end; guarded by mu
}

func (x *exchange) host() Host { return x.exchanges.forwarder.host }

// failure answers and logs a request to which the next hop sent no reply.
func (x *exchange) failure(err error, end watchEnd) Next {
	fault, left := x.body.failure()
	x.body.leave()
	x.Record.Up = x.body.n.Load()
	e := x.replyError(err)
	switch {
	case errors.Is(err, errInterimSent): // perhaps in part, so nothing can follow
		return x.clientLeft(err)
	case end == clientSilent:
		e, x.Record.ClosedBy = x.silenceError(), relay.ClosedByIdle
	case left:
		return x.clientLeft(fault)
	case end == clientGone:
		return x.clientLeft(context.Canceled)
	case fault != nil:
		e = &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Target: x.Record.Target, Detail: "the request's content is malformed", Err: fault}
	}
	return x.refuse(e)
}

// refuse answers the client with an error.
func (x *exchange) refuse(e *tunnel.Error) Next {
	x.Holds.End()
	x.exchanges.wire.Refuse(x.Record, e, x.Head.Method == http.MethodHead)
	return NextClose
}

// clientLeft logs a request whose client has left.
func (x *exchange) clientLeft(err error) Next {
	x.Holds.End()
	x.Record.SetClientGone(err)
	x.host().Log(x.Record)
	return NextClose
}

// replyError returns the Error for a request to which no reply came.
func (x *exchange) replyError(err error) *tunnel.Error {
	var e *tunnel.Error
	switch {
	case errors.As(err, &e):
		out := *e
		if out.Target.IsZero() {
			out.Target = x.Record.Target
		}
		return &out
	case x.exchanges.ctx.Err() != nil:
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorInternalResponse, Target: x.Record.Target, Rule: "draining", Err: err}
	case neterr.Timeout(err):
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionReadTimeout, Target: x.Record.Target, Err: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), neterr.Reset(err), !x.interim.answered():
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionTerminated, Target: x.Record.Target, Err: err}
	}
	return malformedReply(x.Record.Target, err)
}

// malformedReply returns the Error for a reply that cannot be passed on.
func malformedReply(target tunnel.Authority, err error) *tunnel.Error {
	e := &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Target: target, Detail: "the answer is not valid HTTP", Err: err}
	var head *wire.HeadError
	if !errors.As(err, &head) {
		return e
	}
	switch head.Problem {
	case wire.TooLarge:
		e.Type, e.Detail = tunnel.ErrorResponseHeadSize, ""
	case wire.Unsupported:
		e.Type, e.Detail = tunnel.ErrorResponseCoding, ""
	}
	return e
}

// forward sends the request on and the reply back.
func (x *exchange) forward() Next {
	x.started = time.Now()
	watch := &x.exchanges.watch
	watch.start(x)
	reply, err := x.roundTrip()
	return x.reply(reply, err, watch)
}

// reply sends the reply back, or an error if there is none.
func (x *exchange) reply(reply *wire.Reply, err error, watch *clientWatch) Next {
	x.interim.close()
	var framing wire.Framing
	if err == nil {
		framing, err = x.checkReply(reply)
	}
	if err != nil {
		x.dropUpstream()
		return x.failure(err, watch.stop())
	}
	keep := persists(reply, framing)
	out := x.respond(reply, framing)
	x.releaseUpstream(keep, out)
	return x.served(reply.Code, out, watch.stop())
}

// abort ends the exchange: nothing waits any more for the next hop, nor for a connection
// to it. No other exchange of the client's connection follows.
func (x *exchange) abort() {
	x.interim.over.Store(true)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.aborted = true
	x.exchanges.cancel()
	if x.upstream != nil {
		_ = x.upstream.conn.SetDeadline(sock.Past)
	}
}

func (x *exchange) isAborted() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.aborted
}
