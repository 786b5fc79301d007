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

// Limits on the use of a Digest nonce. It is replaced before a proxy may declare it
// stale, which Squid does after 50 answers by default.
const (
	nonceUses = 10
	nonceAge  = 30 * time.Second
)

// ProxyLogin makes the Proxy-Authorization fields for a route's last proxy, for HTTP/1
// requests that its user writes, as an audit does. Several goroutines may use it.
type ProxyLogin struct {
	client *Client
	target tunnel.Authority // for the login's own CONNECT requests
	mu     sync.Mutex
	scheme loginScheme // that the proxy accepted, or the last one tried
	since  time.Time   // when a Digest's nonce was received
}

// ProxyLogin asks the last proxy for a tunnel to target, which it closes at once, and
// returns the login by which the proxy accepted the credentials. The login is nil if
// there are no credentials, if the proxy wants none, or if it refused them by all
// schemes. If the proxy wants credentials and names no scheme, the login uses Basic.
// The error, a *tunnel.Error or ErrNoProxy, says why there was no tunnel; the login may
// be usable all the same. The Client's Timeout applies to this call, and to each
// request that the login sends later.
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

// hop returns the hop of the proxy.
func (p *ProxyLogin) hop() tunnel.Hop { return p.client.Route.Hops[len(p.client.Route.Hops)-1] }

// handshake returns the handshake for a CONNECT over a connection to the proxy.
func (p *ProxyLogin) handshake(l *login, conn net.Conn, br *bufio.Reader) *http1Handshake {
	return &http1Handshake{&hopRequest{client: p.client, hop: p.hop(), next: p.target, login: l}, conn, br}
}

// try opens a tunnel, over as many connections as the login needs, and closes it.
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

// Scheme returns the scheme by which the proxy accepts the credentials, one of the Auth
// constants.
func (p *ProxyLogin) Scheme() string { return p.scheme.name() }

// Bound reports whether the login authenticates a connection. Each connection then
// starts with Begin, and only the next request on it needs credentials.
func (p *ProxyLogin) Bound() bool { return p.scheme.bound() }

// Value returns the value of Proxy-Authorization for one request with the given method
// and target, as they are in its request line. The context applies if the proxy has to
// be asked for a new nonce.
func (p *ProxyLogin) Value(ctx context.Context, method, target string) (value string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.client.sharedConns().rememberAnswer(value) }()
	d, ok := p.scheme.(*digestLogin)
	if !ok {
		return p.scheme.resume(p.target)
	}
	if d.uses.Load() >= nonceUses || time.Since(p.since) > nonceAge {
		fresh, err := p.challenge(ctx, d.credentials)
		if err != nil {
			return "", err
		}
		d, p.scheme, p.since = fresh, fresh, time.Now()
	}
	return d.value(method, target)
}

// challenge asks the proxy for a new nonce.
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
	if e := h.exchange(ctx, x, 0); e != nil {
		return nil, e
	}
	for _, c := range strongestFirst(challenges(x.reply)) {
		d := &digestLogin{credentials: credentials}
		if _, _, err := d.answer(c, p.target); c.is(AuthDigest) && err == nil {
			d.uses = &nonceCount{} // the answer above is not sent
			return d, nil
		}
	}
	return nil, fmt.Errorf("the proxy gave no new nonce, but %q", wire.Escape([]byte(x.reply.Line), 100))
}

// Begin begins the login on a connection on which nothing was sent yet. It asks the
// proxy for a tunnel, and returns the value of Proxy-Authorization for the next request
// on the connection. br reads from conn. The caller closes conn, also after an error.
func (p *ProxyLogin) Begin(ctx context.Context, conn net.Conn, br *bufio.Reader) (string, error) {
	bound, ok := p.scheme.(*ntlmLogin)
	if !ok {
		return "", errors.New("the login is for single requests")
	}
	ctx, cancel := p.client.withTimeout(ctx)
	defer cancel()
	n := bound.again()
	hello, err := n.resume(p.target)
	if err != nil {
		return "", err
	}
	l := &login{credentials: bound.credentials, schemes: []string{n.name()}, current: n, value: hello}
	h := p.handshake(l, conn, br)
	again, sameConn, e := h.round(ctx, false)
	switch {
	case e == nil:
		return "", errors.New("the proxy opened a tunnel by the login's first message")
	case !again || !sameConn:
		return "", e
	}
	value := l.send()
	p.client.sharedConns().rememberAnswer(value)
	return value, nil
}
