package forward

import (
	"context"
	"culvert/tunnel"
	"errors"
	"net/http"
)

// staleTries bounds how many pooled connections that turn out to be closed are tried.
const staleTries = 4

// roundTrip sends the request and returns the reply. If the origin has closed the
// pooled connection meanwhile, the library tries another by itself, unless part of
// the request was written by then. A request that may be repeated is sent again in
// that case too (RFC 9112, section 9.3.1), as long as no reply has begun. One that
// must not be repeated (RFC 9110, section 9.2.2) is sent only on a connection that
// is not known to have ended, and may fail if the origin closes it at that moment.
// Where a route cannot be taken, the rule's next one is tried.
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

// roundTripOnRoute is roundTrip along one route.
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
	if x.stale { // not a byte of it went out
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
