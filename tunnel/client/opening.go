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

// opening is a tunnel that is being opened, hop by hop. Its conn leads through the hops
// passed so far.
type opening struct {
	client    *Client
	target    tunnel.Authority
	extra     []Field
	conn      net.Conn       // nil = none, or it is a shared one
	early     []byte         // read from conn already, and to be read first
	addr      netip.AddrPort // of the first hop, or the target
	last      string         // the last hop passed; "" = none
	logins    []*login       // for each hop; nil = not reached yet, or no credentials
	reconnect bool           // a hop needs another connection for its login
}

// open opens the tunnel. It starts over each time a hop's login needs another
// connection.
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

// login returns the login at hop i; nil = there is none.
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

// openOnce tries to open the tunnel, over a shared connection if there is one.
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

// openOverNew connects and passes all hops. It calls offer once, with the connection to
// hop share that other tunnels may use, or with nil if there is none.
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

// follow passes the hops from the given one on, and speaks TLS with the target if that
// is wanted. It calls offer with the connection to hop share, or with nil if that
// cannot be shared.
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
			conn.Shutdown() // closes it when this tunnel ends
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

// secureHop speaks TLS with hop i if its scheme wants that, and returns the protocol to
// speak with the hop from then on, as an ALPN name.
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

// next returns what hop i is asked to connect to.
func (o *opening) next(i int) tunnel.Authority { return o.client.Route.HopTarget(i, o.target) }

// request returns the request for hop i. SOCKS has its own login.
func (o *opening) request(i int) *hopRequest {
	r := &hopRequest{client: o.client, hop: o.client.Route.Hops[i], next: o.next(i), first: i == 0, extra: o.extra}
	if !r.hop.IsSOCKS() {
		r.login = o.login(i)
	}
	return r
}

// ask runs a hop's handshake, after which conn leads through the hop.
func (o *opening) ask(ctx context.Context, r *hopRequest, h hopHandshake) *tunnel.Error {
	conn, early, e := h.run(ctx)
	if e != nil {
		o.reconnect = r.reconnect
		return e
	}
	o.conn, o.early, o.last = conn, early, r.hop.Name()
	r.login.opened()
	return nil
}

// askHTTP2 is ask for hop i, over an HTTP/2 connection. It releases the stream that was
// reserved on conn.
func (o *opening) askHTTP2(ctx context.Context, conn *sharedConn, i int) *tunnel.Error {
	r := o.request(i)
	settle := sync.OnceFunc(func() { o.client.sharedConns().settle(conn) })
	return o.ask(ctx, r, &http2Handshake{r, conn.Conn, settle})
}

// multiplex makes conn, which leads to hop i, an HTTP/2 connection.
func (o *opening) multiplex(i int) *sharedConn {
	underlying := o.underlying()
	if w := o.client.Watch; w != nil && w.Tap != nil {
		underlying = w.Tap(underlying)
	}
	conn := newSharedConn(underlying, o.addr, o.client.watchFrames(o.client.Route.Hops[i]))
	o.conn, o.early = nil, nil
	return conn
}

// close closes the conn of a tunnel that could not be opened.
func (o *opening) close() {
	if o.conn != nil {
		o.conn.Close()
	}
}

// reader returns a reader of the early bytes and then of conn. With KeepUnread it reads
// nothing from conn that the tunnel's user should read.
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

// underlying returns conn, with the early bytes to be read first, for another protocol
// to use.
func (o *opening) underlying() net.Conn {
	if len(o.early) > 0 {
		return &Conn{Conn: o.conn, early: o.early}
	}
	return o.conn
}

// watchedReader passes the result of each read to Watch.Read.
type watchedReader struct {
	io.Reader
	seen func([]byte, error)
}

func (r *watchedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.seen(b[:n], err)
	return n, err
}
