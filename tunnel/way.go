package tunnel

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"

	"culvert/tunnel/internal/h2"
)

// way is a tunnel that is being opened: what is said on its conn reaches the
// last hop that opened, or that was connected to.
type way struct {
	client *Client
	target Authority
	extra  []Field
	conn   net.Conn       // nil = none, or it is another's to close
	addr   netip.AddrPort // of the first hop, or the target
	br     *bufio.Reader  // over conn; nil = nothing was read yet
	last   string         // the hop that opened last; "" = none
	logins []*login       // at each hop; nil = not there yet, or no credentials
	again  bool           // a hop wants another connection for its login
}

// open opens the way. Where a hop's login wants it, from the start again.
func (w *way) open(ctx context.Context) *Error {
	for {
		e := w.try(ctx)
		if e == nil || !w.again {
			return e
		}
		w.close()
		w.conn, w.br, w.last, w.again = nil, nil, "", false
		for i, l := range w.logins {
			l.resume(w.next(i))
		}
	}
}

// login is that at hop i.
func (w *way) login(i int) *login {
	hops := w.client.Route.Hops
	if w.logins == nil {
		w.logins = make([]*login, len(hops))
	}
	if w.logins[i] == nil && !(i == 0 && hasField(w.client.Header, "Proxy-Authorization")) {
		w.logins[i] = w.client.newLogin(hops[i], w.next(i))
	}
	return w.logins[i]
}

// try opens the way, over a connection that is there already if it can be.
func (w *way) try(ctx context.Context) *Error {
	hops := w.client.Route.Hops
	share := len(hops) - 1
	for share >= 0 && !hops[share].mayShare() {
		share--
	}
	if share < 0 {
		return w.anew(ctx, share, func(*sharedConn) {})
	}
	for try := 1; ; try++ {
		conn, done, err := w.client.sharedConns().take(ctx, w.client.shareKey(hops[:share+1]))
		switch {
		case err != nil:
			e := cutError(ctx, PhaseConnect, err)
			e.Hop, e.Target = hops[share].Name(), w.target
			return e
		case conn == nil:
			return w.anew(ctx, share, done)
		}
		w.addr = conn.addr
		e := w.askStream(ctx, conn, share)
		switch {
		case e == nil:
			return w.follow(ctx, share+1, share, nil)
		case try > 1 || !repeatable(e):
			return e
		}
	}
}

// anew connects, and goes through all hops. tell is told, once, of the
// connection to hop share that others may use, or of nil.
func (w *way) anew(ctx context.Context, share int, tell func(*sharedConn)) (e *Error) {
	once := sync.OnceFunc(func() { tell(nil) })
	defer once()
	if w.conn, w.addr, e = w.client.connectFirst(ctx, w.target); e != nil {
		return e
	}
	return w.follow(ctx, 0, share, func(conn *sharedConn) {
		if conn == nil {
			once()
			return
		}
		told := tell
		tell = func(*sharedConn) {}
		told(conn)
	})
}

// follow goes through the hops from the given one on, and to the target. At hop
// share it tells what others may use.
func (w *way) follow(ctx context.Context, from, share int, tell func(*sharedConn)) *Error {
	for i := from; i < len(w.client.Route.Hops); i++ {
		protocol, e := w.secureHop(ctx, i)
		switch {
		case e != nil:
		case protocol == alpnHTTP2 && i == share:
			conn := w.multiplex(i)
			tell(conn)
			e = w.askStream(ctx, conn, i)
		case protocol == alpnHTTP2:
			conn := w.multiplex(i)
			conn.reserved = 1
			e = w.askStream(ctx, conn, i)
			conn.Shutdown() // when this tunnel ends
		case w.client.Route.Hops[i].isSOCKS():
			e = w.askSOCKS(ctx, i)
		default:
			if i == share {
				w.client.sharedConns().speaksHTTP1(w.client.shareKey(w.client.Route.Hops[:i+1]))
				tell(nil)
			}
			e = w.askHTTP1(ctx, i)
		}
		if e != nil {
			return e
		}
	}
	if w.client.TLS == nil {
		return nil
	}
	secured, e := w.client.secureTarget(ctx, w.beneath(), w.target)
	if e == nil {
		w.conn, w.br = secured, nil
	}
	return e
}

// secureHop speaks TLS with hop i if that is wanted, and returns the protocol to
// speak within.
func (w *way) secureHop(ctx context.Context, i int) (protocol string, e *Error) {
	hop := w.client.Route.Hops[i]
	switch hop.Scheme {
	case SchemeHTTPS, SchemeH2:
	case SchemeH2C:
		return alpnHTTP2, nil
	default:
		return protocolHTTP1, nil
	}
	secured, e := w.client.secureHop(ctx, w.beneath(), hop)
	if e != nil {
		return "", e
	}
	w.conn, w.br = secured, nil
	if protocol = secured.handshake.State.NegotiatedProtocol; hop.Scheme == SchemeH2 && protocol != alpnHTTP2 {
		return "", &Error{Phase: PhaseTLS, Type: ErrorTLSProtocol, Hop: hop.Name(), Target: w.target, scheme: hop.Scheme,
			Err: &TLSFailure{Problem: TLSNoProtocol, Words: "it does not speak HTTP/2"}}
	}
	return protocol, nil
}

// next is what hop i is asked for.
func (w *way) next(i int) Authority { return w.client.Route.next(i, w.target) }

func (w *way) handshake(i int) handshake {
	return handshake{client: w.client, hop: w.client.Route.Hops[i], next: w.next(i), first: i == 0, login: w.login(i), extra: w.extra, conn: w.conn}
}

// askHTTP1 has hop i open the next piece of the way.
func (w *way) askHTTP1(ctx context.Context, i int) *Error {
	for kept := false; ; kept = true {
		h := w.handshake(i)
		h.br = w.reader()
		e := h.run(ctx)
		switch {
		case e == nil:
			w.last = h.hop.Name()
			h.login.opened(w.client.sharedConns(), h.hop)
			return nil
		case h.again && h.here:
			continue
		case kept && e.unanswered():
			h.again = h.login.hungUp(h.next)
		}
		w.again = h.again
		return e
	}
}

// multiplex speaks HTTP/2 with hop i from here on.
func (w *way) multiplex(i int) *sharedConn {
	beneath := w.beneath()
	if tap := w.client.tap; tap != nil {
		beneath = tap(beneath)
	}
	conn := newSharedConn(beneath, w.addr, w.client.watchFrames(w.client.Route.Hops[i]))
	w.conn, w.br = nil, nil
	return conn
}

// askStream is askHTTP1 over HTTP/2. It gives conn's reservation back.
func (w *way) askStream(ctx context.Context, conn *sharedConn, i int) *Error {
	settle := sync.OnceFunc(func() { w.client.sharedConns().settle(conn) })
	var s *h2.Stream
	var h handshake2
	for again := true; again; again = h.again {
		h = handshake2{handshake: w.handshake(i), streams: conn.Conn, opened: settle}
		var e *Error
		if s, e = h.run(ctx); e != nil && !h.again {
			return e
		}
	}
	h.login.opened(w.client.sharedConns(), h.hop)
	w.conn, w.br, w.last = newStreamConn(s, h2.CodeCancel), nil, h.hop.Name()
	return nil
}

// close closes what was opened in vain.
func (w *way) close() {
	if w.conn != nil {
		w.conn.Close()
	}
}

// reader reads from conn, and keeps what lies behind an answer's head. What is
// to be handed over is never read too early.
func (w *way) reader() *bufio.Reader {
	if w.br == nil {
		var in io.Reader = w.conn
		if w.client.KeepUnread {
			in = newUnreadReader(w.conn)
		}
		if seen := w.client.seen; seen != nil {
			in = &watchedReader{in, seen}
		}
		w.br = bufio.NewReader(in)
	}
	return w.br
}

// early returns what was read of conn and not used.
func (w *way) early() []byte {
	if w.br == nil || w.br.Buffered() == 0 {
		return nil
	}
	early, _ := w.br.Peek(w.br.Buffered())
	return early
}

// beneath is the conn for another protocol to go over: with what was read of it
// already.
func (w *way) beneath() net.Conn {
	if early := w.early(); early != nil {
		return &Conn{Conn: w.conn, early: early}
	}
	return w.conn
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
