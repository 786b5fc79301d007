package forward

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
)

const (
	// staleTries bounds how often a request is sent again because a kept connection was
	// closed.
	staleTries = 4

	continueTimeout = time.Second // how long a 100 (Continue) is waited for
	maxReplyHead    = 256 << 10
)

// roundTrip sends the request and returns the head of the reply. If a route cannot be
// taken, the next one is tried.
func (x *exchange) roundTrip() (*wire.Reply, error) {
	for {
		reply, err := x.roundTripOnRoute()
		if err == nil || len(x.others) == 0 {
			return reply, err
		}
		var e *tunnel.Error
		if !errors.As(err, &e) || !e.OtherRouteMayWork() || x.interim.answered() || x.isAborted() || !x.body.renew() {
			return nil, err
		}
		x.host().RouteFailed(x.route, x.Record.Target, e)
		next := x.others[0]
		x.others = x.others[1:]
		if e := x.takeRoute(next); e != nil {
			return nil, e
		}
	}
}

// roundTripOnRoute is roundTrip on one route. An origin may close a kept connection at
// any time (RFC 9112, section 9.3.1): one that is known to have ended is not used, and
// where it ends at the moment of its use, a request that may be repeated is sent again
// unless a reply has begun. A request that must not be repeated (RFC 9110, section
// 9.2.2) then fails.
func (x *exchange) roundTripOnRoute() (*wire.Reply, error) {
	for tries := 1; ; tries++ {
		if err := x.connect(tries > staleTries); err != nil {
			return nil, err
		}
		reused := x.upstream.reused
		reply, err := x.ask()
		if err == nil {
			return reply, nil
		}
		x.dropUpstream()
		if !reused || !x.repeatable() || x.interim.answered() || x.isAborted() {
			return nil, err
		}
	}
}

// repeatable reports whether the request may be sent twice.
func (x *exchange) repeatable() bool { return x.body.content == nil && idempotent(x.Head.Method) }

// idempotent reports whether a method may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// authenticatesConnection reports whether a request authenticates its connection, as
// Negotiate and NTLM do (RFC 4559, section 6): the next request on it is treated as the
// same user's. So once a client connection has carried such credentials, it no longer
// shares connections to origins with other clients.
func authenticatesConnection(fields []wire.Field) bool {
	for i := range fields {
		if !isName(fields[i].Name, "Authorization") {
			continue
		}
		scheme, _, _ := strings.Cut(fields[i].Value, " ")
		if strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			return true
		}
	}
	return false
}

// pool returns the pool for the request's connection.
func (x *exchange) pool() *pool {
	es := x.exchanges
	if es.own == nil && authenticatesConnection(x.Head.Fields) {
		es.own = &pool{limit: idleUpstreamsOwn, private: true}
	}
	if es.own != nil {
		return es.own
	}
	return &es.forwarder.pool
}

// connect takes a kept connection for the request, or makes one. With fresh it makes one
// in any case.
func (x *exchange) connect(fresh bool) error {
	key := poolKey{parent: x.parent}
	if !x.absolute() {
		key.target = x.Record.Target
	}
	var u *upstream
	if !fresh {
		u = x.pool().take(key, x.Holds.Account())
	}
	if u == nil {
		var err error
		if u, err = x.dial(key); err != nil {
			return err
		}
	}
	x.use(u)
	return nil
}

// dial makes a connection.
func (x *exchange) dial(key poolKey) (*upstream, error) {
	u := &upstream{key: key, closes: x.pool().generation()}
	if account := x.Holds.Account(); account != nil {
		if err := u.slot.Hold(account, u); err != nil {
			return nil, x.host().LimitError(err)
		}
	}
	watch := x.Watch
	if !x.exchanges.watch.yield() {
		x.Watch = nil
	}
	dial := x.host().Dial
	if x.absolute() {
		dial = x.host().DialParent
	}
	conn, e := dial(x.exchanges.ctx, &x.Incoming, x.route)
	x.exchanges.watch.resume()
	x.Watch = watch
	if e != nil {
		u.slot.Release()
		return nil, e
	}
	u.connected(conn)
	return u, nil
}

// use makes u the connection of the exchange.
func (x *exchange) use(u *upstream) {
	x.Record.Connect, x.Record.Addr, x.Record.FullName = time.Since(x.started), u.addr, u.fullName
	u.use(x)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.upstream = u
	if x.aborted {
		_ = u.conn.SetDeadline(sock.Past)
	}
}

// dropUpstream closes the connection to the next hop, if there is one, and waits until
// nothing uses it.
func (x *exchange) dropUpstream() {
	if x.upstream == nil {
		return
	}
	x.upstream.close()
	x.body.interrupt(errUpstreamGone)
	x.upload.wait()
	x.forgetUpstream().rest()
}

// forgetUpstream makes the exchange have no connection, and returns the one it had.
func (x *exchange) forgetUpstream() *upstream {
	x.mu.Lock()
	defer x.mu.Unlock()
	u := x.upstream
	x.upstream = nil
	return u
}

// releaseUpstream keeps the connection after a reply if it can carry another request, or
// closes it.
func (x *exchange) releaseUpstream(persists bool, out replyOutcome) {
	u := x.upstream
	if u == nil {
		return
	}
	if x.switching || !persists || out.fromOrigin != nil || out.toClient != nil || !x.upload.whole() || u.br.Buffered() > 0 || x.host().Draining() || x.isAborted() {
		x.dropUpstream()
		return
	}
	x.forgetUpstream()
	x.pool().put(u)
}

// persists reports whether the connection stays open after a reply (RFC 9112, section
// 9.3).
func persists(reply *wire.Reply, framing wire.Framing) bool {
	if framing.UntilClose || reply.Code == http.StatusSwitchingProtocols {
		return false
	}
	if reply.Minor == 0 {
		return listed(reply.Fields, "Connection", "keep-alive")
	}
	return !listed(reply.Fields, "Connection", "close")
}

// ask sends the request and reads the head of the reply.
func (x *exchange) ask() (*wire.Reply, error) {
	x.exchanges.head = x.appendHead(x.exchanges.head[:0], x.credentials())
	x.upload.begin(x, x.exchanges.head)
	if x.upload.waits {
		if err := x.awaitContinue(); err != nil {
			return nil, err
		}
	}
	return x.readReply()
}

// credentials returns the value of Proxy-Authorization for the next hop; "" = none.
func (x *exchange) credentials() string {
	if x.switching || !x.absolute() {
		return ""
	}
	return x.parent.basic
}

// awaitContinue waits until the next hop replies, at most as long as a client that sent
// Expect: 100-continue should wait, and then has the content sent (RFC 9110, section
// 10.1.1). A reply is left to readReply.
func (x *exchange) awaitContinue() error {
	u := x.upstream
	x.setReadDeadline(u, time.Now().Add(continueTimeout))
	_, err := u.br.Peek(1)
	x.setReadDeadline(u, time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) && !x.isAborted() {
		x.upload.proceed()
		return nil
	}
	return err
}

// setReadDeadline sets a deadline unless the exchange was aborted.
func (x *exchange) setReadDeadline(u *upstream, t time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.aborted {
		_ = u.conn.SetReadDeadline(t)
	}
}

// readReply reads the head of the reply, and passes interim replies on.
func (x *exchange) readReply() (*wire.Reply, error) {
	br := x.upstream.br
	for {
		if _, err := br.Peek(1); err != nil {
			return nil, err
		}
		x.interim.beginHead()
		reply, err := x.exchanges.reply.ReadReply(br, maxReplyHead)
		if err != nil {
			return nil, err
		}
		if reply.Code >= 200 || reply.Code == http.StatusSwitchingProtocols {
			return reply, nil
		}
		if err := x.interim.pass(reply.Code, reply.Fields); err != nil {
			return nil, err
		}
		if reply.Code == http.StatusContinue {
			x.upload.proceed()
		}
	}
}
