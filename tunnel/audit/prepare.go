package audit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
)

// prepare starts the target and finds out what the proxy lets through.
func (b *bench) prepare(ctx context.Context) error {
	hops := b.Client.Route.Hops
	if len(hops) == 0 {
		return client.ErrNoProxy
	}
	conn, err := b.Client.OpenProxy(ctx)
	if err != nil {
		return err
	}
	local, peer := conn.LocalAddr(), conn.RemoteAddr()
	conn.Close()
	if err := b.startTarget(local, peer); err != nil {
		return err
	}
	b.asked = b.Target
	if b.target != nil {
		b.asked = b.target.announced
		b.closed = b.target.unused()
	}
	b.logIn(ctx, b.asked)
	b.tryTunnel(ctx)
	return nil
}

// startTarget starts the target where Listen says. local and peer are the addresses of
// a connection to the first hop.
func (b *bench) startTarget(local, peer net.Addr) error {
	listen := b.Listen
	if listen == "" {
		tcp, ok := peer.(*net.TCPAddr)
		if ok && !tcp.IP.IsLoopback() || len(b.Client.Route.Hops) > 1 {
			b.missing[needTarget] = "there is no target of the audit's own: name an address that the proxy reaches with --target-listen"
			b.missing[needPlain], b.missing[needHTTP2] = b.missing[needTarget], b.missing[needTarget]
			return nil
		}
		listen = "127.0.0.1:0"
	}
	t, err := listenTarget(listen, b.Announce, local)
	b.target = t
	return err
}

// request sends one request, and returns the reply, nil if there is none, and what to
// say about it.
func (b *bench) request(ctx context.Context, request string) (reply *wire.Reply, words string) {
	t := &trial{bench: b, ctx: ctx}
	defer t.end()
	if b.target != nil {
		b.target.serve(originOf(nil, func(*originRequest) string { return okReply }))
	}
	o := t.attempt(func(t *trial) {
		k := t.talk()
		k.send(request)
		var err error
		if reply, err = k.reply(); err != nil {
			b.lastCode = noAnswerCode(err)
			k.fail("no answer: %s", reason(err))
		}
		b.replies++
		if b.lastCode = tunnel.ExitOK; strings.HasPrefix(request, "CONNECT ") {
			b.lastCode = tunnel.ExitCode(probe.CheckReply(reply.Raw, k.afterHead(reply)))
		}
	})
	if reply == nil {
		return nil, o.words
	}
	b.identify(reply)
	return reply, `the proxy answered "` + line(reply) + `"`
}

// tunnelRequest and plainRequest are granted by every proxy that allows the target.
const (
	tunnelRequest = "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n"
	plainRequest  = "GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n"
)

// tryTunnel finds out which needs are met, and records the reasons for those that are
// not.
func (b *bench) tryTunnel(ctx context.Context) {
	if b.asked.IsZero() {
		b.missing[needOpen] = "there is no target to ask for: name one, HOST:PORT, or --target-listen"
		return
	}
	reply, words := b.request(ctx, tunnelRequest)
	b.firstCode = b.lastCode
	defer b.tryAnything()
	if b.Listen == "" && b.target != nil && denied(reply) {
		if reply, words = b.findPort(ctx, reply, words); reply.Code/100 == 2 {
			b.firstCode = tunnel.ExitOK
		}
	}
	page := reply != nil && reply.Code/100 == 2 && b.firstCode != tunnel.ExitOK
	if reply == nil || reply.Code/100 != 2 || page {
		if reply != nil {
			b.refusedBy = reply.Code
		}
		why := "no tunnel to " + b.asked.String() + ": " + words
		switch {
		case page:
			why += ", and a page instead of a tunnel: it is no proxy, or a login page stands in the way"
		case b.rejected:
			why += ": it refused the credentials"
		case reply == nil || b.target == nil:
		case reply.Code >= 502 && reply.Code <= 504:
			why += "; let the target listen where the proxy reaches it: --target-listen HOST:PORT"
		case denied(reply):
			why += "; let it listen on a port that the proxy allows, as --target-listen HOST:443"
		}
		b.missing[needOpen], b.missing[needTarget], b.missing[needHTTP2] = why, why, why
	}
	if b.target == nil {
		return
	}
	if b.missing[needTarget] == "" {
		b.tryCarrying(ctx)
	}
	if reply, words = b.request(ctx, plainRequest); reply == nil || reply.Code != 200 {
		b.missing[needPlain] = "no plain request to " + b.asked.String() + ": " + words
	}
	b.plainHTTP10 = reply != nil && reply.Minor == 0
	if b.login != nil && b.login.Bound() {
		b.missing[needHTTP2] = "a login by " + strings.ToUpper(b.login.Scheme()) + " is for a connection of HTTP/1"
	}
	if b.missing[needHTTP2] == "" {
		if err := b.tryHTTP2(ctx); err != nil {
			b.missing[needHTTP2] = "HTTP/2 is not offered: " + wire.Escape([]byte(err.Error()), 160)
		}
	}
}

// tryAnything records that nothing can be checked if the proxy answered nothing in
// HTTP: then it may not be a proxy.
func (b *bench) tryAnything() {
	if b.replies == 0 {
		b.missing[needNothing] = b.missing[needOpen]
	}
}

// tryCarrying finds out whether the tunnel carries bytes. If nothing at all goes
// through, the check connect-carries fails, and those that need the target are
// skipped.
func (b *bench) tryCarrying(ctx context.Context) {
	t := &trial{bench: b, ctx: ctx}
	defer t.end()
	arrived := make(chan string, 1)
	t.target.serve(func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			offer(arrived, "")
		}
	})
	t.attempt(func(t *trial) {
		k := t.open("")
		k.send("ping")
		if _, err := k.br.ReadByte(); err == nil || !timedOut(err) || len(arrived) > 0 {
			return
		}
		why := "the proxy opens a tunnel to " + b.asked.String() + ", but nothing goes through: it may look into tunnels, to inspect TLS"
		b.missing[needTarget], b.missing[needHTTP2] = why, why
	})
}

// identify records what the proxy says about itself.
func (b *bench) identify(reply *wire.Reply) {
	for _, name := range []string{"Server", "Via", "Proxy-Agent", "Proxy-Status"} {
		for _, value := range reply.Values(name) {
			if name == "Proxy-Status" { // only the proxy's name, not what it says about this request
				value, _, _ = strings.Cut(value, ";")
			}
			words := b.masked(name + ": " + wire.Escape([]byte(value), 100))
			if !slices.Contains(b.identity, words) && len(b.identity) < 8 {
				b.identity = append(b.identity, words)
			}
		}
	}
}

// tryHTTP2 opens a tunnel over HTTP/2.
func (b *bench) tryHTTP2(ctx context.Context) error {
	b.target.serve(func(net.Conn) {})
	defer b.target.closeConns()
	client := b.http2Client()
	if client == nil {
		return errors.New("not over this scheme")
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	conn, err := client.Open(ctx, b.asked)
	var e *tunnel.Error
	if errors.As(err, &e) && e.Detail != "" { // the whole sentence would say that it is not a proxy
		return errors.New(e.Detail)
	}
	if err != nil {
		sentence, _ := explain.Error(err)
		return errors.New(sentence)
	}
	return conn.Close()
}

// http2Client returns a Client that speaks HTTP/2 with the last proxy, nil if the
// scheme does not allow that.
func (b *bench) http2Client() *client.Client {
	c := &client.Client{Route: b.Client.Route, Resolver: b.Client.Resolver, Network: b.Client.Network, Timeout: b.Patience}
	c.Route.Hops = slices.Clone(c.Route.Hops)
	last := &c.Route.Hops[len(c.Route.Hops)-1]
	switch last.Scheme {
	case tunnel.SchemeHTTPS, tunnel.SchemeH2:
		last.Scheme = tunnel.SchemeH2
	case tunnel.SchemeHTTP, tunnel.SchemeH2C:
		last.Scheme = tunnel.SchemeH2C
	default:
		return nil
	}
	if b.login != nil {
		c.Auth, c.Negotiate = b.login.Scheme(), b.Client.Negotiate
	}
	return c
}

// fill replaces {target} and the like in a request.
func (b *bench) fill(text string) string {
	return strings.NewReplacer("{target}", b.asked.String(), "{host}", bracketed(b.asked), "{port}", fmt.Sprint(b.asked.Port()),
		"{closed}", b.closed.String()).Replace(text)
}

// bracketed returns a host as it stands in an authority.
func bracketed(a tunnel.Authority) string {
	text := a.String()
	if a.IsZero() {
		return ""
	}
	return text[:strings.LastIndexByte(text, ':')]
}
