package forward

import (
	"context"
	"culvert/tunnel"
	"errors"
	"net/http"
)

// staleTries bounds how often a request is sent again because a pooled connection was
// closed.
const staleTries = 4

// roundTrip sends the request and returns the reply. If a route cannot be taken, the
// next one is tried.
func (x *exchange) roundTrip(ctx context.Context) (*http.Response, error) {
	for {
		reply, err := x.roundTripOnRoute(ctx)
		var e *tunnel.Error
		if err == nil || len(x.others) == 0 || !errors.As(err, &e) || !e.OtherRouteMayWork() || x.interim.answered() || ctx.Err() != nil || !x.body.renew() {
			return reply, err
		}
		x.host().RouteFailed(x.route, x.Record.Target, e)
		next := x.others[0]
		x.others = x.others[1:]
		if e := x.takeRoute(next); e != nil {
			return nil, e
		}
	}
}

// roundTripOnRoute is roundTrip on one route. If the origin has closed the pooled
// connection meanwhile, the library tries another by itself, unless part of the
// request was written. In that case too a request is sent again if it may be repeated
// (RFC 9112, section 9.3.1) and no reply has begun. A request that must not be
// repeated (RFC 9110, section 9.2.2) is not sent on a connection that is known to have
// ended; it fails if the origin closes the connection at that moment.
func (x *exchange) roundTripOnRoute(ctx context.Context) (*http.Response, error) {
	transport, out := x.transport(), x.outgoing(ctx)
	for tries := 1; ; tries++ {
		x.reused, x.stale = false, false
		reply, err := transport.RoundTrip(out)
		if err == nil || tries > staleTries || ctx.Err() != nil || !x.mayRepeat() {
			return reply, err
		}
	}
}

// mayRepeat reports whether a request that failed may be sent once more.
func (x *exchange) mayRepeat() bool {
	if x.stale { // no byte of it was sent
		return x.body.renew()
	}
	return x.repeatable && x.reused && !x.interim.answered()
}

// idempotent reports whether a method may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
