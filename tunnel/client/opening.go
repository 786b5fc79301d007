package client

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"

	"culvert/tunnel"
)

// opening is a tunnel that is being opened, hop by hop: what is said on its conn
// reaches the last hop that led on, or what was connected to.
type opening struct {
	client    *Client
	target    tunnel.Authority
	extra     []Field
	conn      net.Conn       // nil = none, or it is shared
	early     []byte         // read of conn already, to be read first
	addr      netip.AddrPort // of the first hop, or the target
	last      string         // the hop that led on last; "" = none
	logins    []*login       // at each hop; nil = not there yet, or no credentials
	reconnect bool           // a hop wants another connection for its login
}

// open opens the tunnel. Where a hop's login wants another connection, it begins
// at the start again.
func (o *opening) open(ctx context.Context) *tunnel.Error {
	for {
		e := o.openOnce(ctx)
		if e == nil || !o.reconnect {
			return e
		}
		o.close()
		o.conn, o.early, o.last, o.reconnect = nil, nil, "", false
		for i, l := range o.logins {
			l.resume(o.next(i))
		}
	}
}

// login is that at hop i.
func (o *opening) login(i int) *login {
	hops := o.client.Route.Hops
	if o.logins == nil {
		o.logins = make([]*login, len(hops))
	}
	if o.logins[i] == nil && !(i == 0 && hasField(o.client.Header, "Proxy-Authorization")) {
		o.logins[i] = o.client.newLogin(hops[i], o.next(i))
	}
	return o.logins[i]
}

// try opens the tunnel once, over a shared connection if there is one.
func (o *opening) openOnce(ctx context.Context) *tunnel.Error {
	hops := o.client.Route.Hops
	share := len(hops) - 1
	for share >= 0 && !hops[share].MayUseHTTP2() {
		share--
	}
	if share < 0 {
		return o.openOverNew(ctx, share, func(*sharedConn) {})
	}
	for attempt := 1; ; attempt++ {
		conn, done, err := o.client.sharedConns().take(ctx, o.client.shareKey(hops[:share+1]))
		switch {
		case err != nil:
			e := cutError(ctx, tunnel.PhaseConnect, err)
			e.Hop, e.Target = hops[share].Name(), o.target
			return e
		case conn == nil:
			return o.openOverNew(ctx, share, done)
		}
		o.addr = conn.addr
		e := o.askHTTP2(ctx, conn, share)
		switch {
		case e == nil:
			return o.follow(ctx, share+1, share, nil)
		case attempt > 1 || !repeatable(e):
			return e
		}
	}
}

// anew connects, and goes through all hops. offer is called once, with the
// connection to hop share that others may use, or with nil.
func (o *opening) openOverNew(ctx context.Context, share int, offer func(*sharedConn)) (e *tunnel.Error) {
	offered := false
	once := func(conn *sharedConn) {
		if !offered {
			offered = true
			offer(conn)
		}
	}
	defer once(nil)
	if o.conn, o.addr, e = o.client.connectFirst(ctx, o.target); e != nil {
		return e
	}
	return o.follow(ctx, 0, share, once)
}

// follow goes through the hops from the given one on, and to the target. It
// offers the connection to hop share, or nil if that is not to be shared.
func (o *opening) follow(ctx context.Context, from, share int, offer func(*sharedConn)) *tunnel.Error {
	for i := from; i < len(o.client.Route.Hops); i++ {
		protocol, e := o.secureHop(ctx, i)
		switch {
		case e != nil:
		case protocol == tunnel.ALPNHTTP2 && i == share:
			conn := o.multiplex(i)
			offer(conn)
			e = o.askHTTP2(ctx, conn, i)
		case protocol == tunnel.ALPNHTTP2:
			conn := o.multiplex(i)
			conn.reserved = 1
			e = o.askHTTP2(ctx, conn, i)
			conn.Shutdown() // when this tunnel ends
		case o.client.Route.Hops[i].IsSOCKS():
			r := o.request(i)
			e = o.ask(ctx, r, &socksHandshake{r, o.underlying()})
		default:
			if i == share {
				o.client.sharedConns().speaksHTTP1(o.client.shareKey(o.client.Route.Hops[:i+1]))
				offer(nil)
			}
			r := o.request(i)
			e = o.ask(ctx, r, &http1Handshake{r, o.conn, o.reader()})
		}
		if e != nil {
			return e
		}
	}
	if o.client.TLS == nil {
		return nil
	}
	secured, e := o.client.secureTarget(ctx, o.underlying(), o.target)
	if e == nil {
		o.conn, o.early = secured, nil
	}
	return e
}

// secureHop speaks TLS with hop i if that is wanted, and returns the protocol to
// speak within.
func (o *opening) secureHop(ctx context.Context, i int) (protocol string, e *tunnel.Error) {
	hop := o.client.Route.Hops[i]
	switch hop.Scheme {
	case tunnel.SchemeHTTPS, tunnel.SchemeH2:
	case tunnel.SchemeH2C:
		return tunnel.ALPNHTTP2, nil
	default:
		return tunnel.ALPNHTTP1, nil
	}
	secured, e := o.client.secureHop(ctx, o.underlying(), hop)
	if e != nil {
		return "", e
	}
	o.conn, o.early = secured, nil
	if protocol = secured.handshake.State.NegotiatedProtocol; hop.Scheme == tunnel.SchemeH2 && protocol != tunnel.ALPNHTTP2 {
		return "", &tunnel.Error{Phase: tunnel.PhaseTLS, Type: tunnel.ErrorTLSProtocol, Hop: hop.Name(), Target: o.target, Scheme: hop.Scheme,
			Err: &TLSFailure{Problem: TLSNoProtocol, Words: "it does not speak HTTP/2"}}
	}
	return protocol, nil
}

// next is what hop i is asked for.
func (o *opening) next(i int) tunnel.Authority { return o.client.Route.HopTarget(i, o.target) }

// request is what hop i is to be asked. SOCKS has a login of its own.
func (o *opening) request(i int) *hopRequest {
	r := &hopRequest{client: o.client, hop: o.client.Route.Hops[i], next: o.next(i), first: i == 0, extra: o.extra}
	if !r.hop.IsSOCKS() {
		r.login = o.login(i)
	}
	return r
}

// ask has a hop lead on.
func (o *opening) ask(ctx context.Context, r *hopRequest, h hopHandshake) *tunnel.Error {
	conn, early, e := h.run(ctx)
	if e != nil {
		o.reconnect = r.reconnect
		return e
	}
	o.conn, o.early, o.last = conn, early, r.hop.Name()
	r.login.opened(o.client.sharedConns(), r.hop)
	return nil
}

// askOver is ask for hop i, over a connection of HTTP/2. It gives conn's
// reservation back.
func (o *opening) askHTTP2(ctx context.Context, conn *sharedConn, i int) *tunnel.Error {
	r := o.request(i)
	settle := sync.OnceFunc(func() { o.client.sharedConns().settle(conn) })
	return o.ask(ctx, r, &http2Handshake{r, conn.Conn, settle})
}

// multiplex speaks HTTP/2 with hop i from here on.
func (o *opening) multiplex(i int) *sharedConn {
	underlying := o.underlying()
	if w := o.client.Watch; w != nil && w.Tap != nil {
		underlying = w.Tap(underlying)
	}
	conn := newSharedConn(underlying, o.addr, o.client.watchFrames(o.client.Route.Hops[i]))
	o.conn, o.early = nil, nil
	return conn
}

// close closes what was opened in vain.
func (o *opening) close() {
	if o.conn != nil {
		o.conn.Close()
	}
}

// reader reads from conn, behind the early bytes. Where the tunnel is to be
// handed over it reads nothing too early.
func (o *opening) reader() *bufio.Reader {
	var in io.Reader = o.conn
	if o.client.KeepUnread {
		in = newUnreadReader(o.conn)
	}
	if w := o.client.Watch; w != nil && w.Read != nil {
		in = &watchedReader{in, w.Read}
	}
	if len(o.early) > 0 {
		in = io.MultiReader(bytes.NewReader(o.early), in)
	}
	return bufio.NewReader(in)
}

// beneath is the conn for another protocol to go over: with what was read of it
// already.
func (o *opening) underlying() net.Conn {
	if len(o.early) > 0 {
		return &Conn{Conn: o.conn, early: o.early}
	}
	return o.conn
}

// watchedReader tells of each read.
type watchedReader struct {
	io.Reader
	seen func([]byte, error)
}

func (r *watchedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.seen(b[:n], err)
	return n, err
}
