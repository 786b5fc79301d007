package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// A Digest nonce is replaced before proxies give it up: Squid does so after 50
// answers, unless told otherwise.
const (
	nonceUses = 10
	nonceAge  = 30 * time.Second
)

// ProxyLogin shows the credentials for a route's last proxy in HTTP/1 requests
// that its user writes, as an audit does. It may be used by several goroutines.
type ProxyLogin struct {
	client *Client
	target tunnel.Authority // to ask for, where a request of the login's own is needed
	mu     sync.Mutex
	scheme loginScheme // that the proxy took, or was tried last
	since  time.Time   // of a Digest's nonce
}

// ProxyLogin asks the last proxy for a tunnel to target, which is closed at once,
// and returns how it took the credentials. The Client's Timeout covers it, and
// each further request of the login's own. It returns nil if there are none, or the
// proxy wants none, or refused them all; a proxy that asks for them and names no
// scheme is shown them by Basic. The error, an *Error, says why there was no
// tunnel, whatever became of the login.
func (c *Client) ProxyLogin(ctx context.Context, target tunnel.Authority) (*ProxyLogin, error) {
	if c.Route.Direct() {
		return nil, ErrNoProxy
	}
	p := &ProxyLogin{client: c, target: target}
	l := c.newLogin(p.hop(), target)
	if l == nil {
		return nil, nil
	}
	err := p.try(ctx, l)
	var e *tunnel.Error
	switch {
	case l.current != nil:
		p.scheme = l.current
	case errors.As(err, &e) && e.Type == tunnel.ErrorCredentials && len(l.offered) == 0 && l.may(AuthBasic):
		p.scheme = &plainLogin{scheme: AuthBasic, credentials: l.credentials}
	default:
		return nil, err
	}
	p.since = time.Now()
	return p, err
}

// hop is the proxy.
func (p *ProxyLogin) hop() tunnel.Hop { return p.client.Route.Hops[len(p.client.Route.Hops)-1] }

// handshake is a CONNECT over a connection to the proxy.
func (p *ProxyLogin) handshake(l *login, conn net.Conn, br *bufio.Reader) *http1Handshake {
	return &http1Handshake{&hopRequest{client: p.client, hop: p.hop(), next: p.target, login: l}, conn, br}
}

// try opens a tunnel in as many rounds and connections as the login takes.
func (p *ProxyLogin) try(ctx context.Context, l *login) error {
	ctx, cancel := p.client.withTimeout(ctx)
	defer cancel()
	for {
		conn, err := p.client.OpenProxy(ctx)
		if err != nil {
			return err
		}
		h := p.handshake(l, conn, bufio.NewReader(conn))
		_, _, e := h.run(ctx)
		conn.Close()
		switch {
		case e == nil:
			return nil
		case !h.reconnect:
			return e
		}
		l.resume(p.target)
	}
}

// Scheme is the scheme by which the proxy takes the credentials: AuthBasic and its
// like.
func (p *ProxyLogin) Scheme() string { return p.scheme.name() }

// Bound reports that the login is for a connection: each begins with Begin, and
// its requests behind the first need no credentials.
func (p *ProxyLogin) Bound() bool { return p.scheme.bound() }

// Value is Proxy-Authorization's for one request with this method and target, as
// they stand in its first line. Where the proxy has to be asked for a new nonce,
// ctx covers that.
func (p *ProxyLogin) Value(ctx context.Context, method, target string) (value string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.client.sharedConns().rememberAnswer(value) }()
	d, ok := p.scheme.(*digestLogin)
	if !ok {
		return p.scheme.resume(p.target)
	}
	if d.count >= nonceUses || time.Since(p.since) > nonceAge {
		fresh, err := p.challenge(ctx, d.credentials)
		if err != nil {
			return "", err
		}
		d, p.scheme, p.since = fresh, fresh, time.Now()
	}
	return d.value(method, target)
}

// challenge has the proxy give a new nonce.
func (p *ProxyLogin) challenge(ctx context.Context, credentials tunnel.Credentials) (*digestLogin, error) {
	ctx, cancel := p.client.withTimeout(ctx)
	defer cancel()
	conn, err := p.client.OpenProxy(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	h := p.handshake(nil, conn, bufio.NewReader(conn))
	x := &Exchange{Hop: h.hop, Next: h.next, Request: requestHead(h.next, h.fields())}
	if e := h.exchange(ctx, x); e != nil {
		return nil, e
	}
	for _, c := range strongestFirst(challenges(x.reply)) {
		d := &digestLogin{credentials: credentials}
		if _, _, err := d.answer(c, p.target); c.is(AuthDigest) && err == nil {
			d.count = 0
			return d, nil
		}
	}
	return nil, fmt.Errorf("the proxy gave no new nonce, but %q", wire.Escape([]byte(x.reply.Line), 100))
}

// Begin begins the login of a connection, over which nothing went yet: it asks for
// a tunnel, and returns the value that goes with the connection's next request.
// br reads from conn.
func (p *ProxyLogin) Begin(ctx context.Context, conn net.Conn, br *bufio.Reader) (string, error) {
	bound, ok := p.scheme.(*ntlmLogin)
	if !ok {
		return "", errors.New("the login is for single requests")
	}
	ctx, cancel := p.client.withTimeout(ctx)
	defer cancel()
	n := &ntlmLogin{credentials: bound.credentials, scheme: bound.scheme}
	hello, _, err := n.answer(challenge{}, p.target)
	if err != nil {
		return "", err
	}
	l := &login{credentials: n.credentials, schemes: []string{n.name()}, current: n, value: hello}
	h := p.handshake(l, conn, br)
	again, here, e := h.round(ctx)
	switch {
	case e == nil:
		return "", errors.New("the proxy opened a tunnel by the login's first message")
	case !again || !here:
		return "", e
	}
	value := l.send()
	p.client.sharedConns().rememberAnswer(value)
	return value, nil
}
