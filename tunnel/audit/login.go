package audit

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"culvert/tunnel"
)

// logIn finds out how the proxy takes the credentials, by opening a tunnel to the
// target or, if that is zero, to a name that does not exist.
func (b *bench) logIn(ctx context.Context, target tunnel.Authority) {
	if target.IsZero() {
		target, _ = tunnel.ParseAuthority("culvert-audit.invalid:443")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*b.Patience) // a round without the credentials, and one with them
	defer cancel()
	// Whether the tunnel opens does not matter here: the audit asks for one itself.
	login, err := b.Client.ProxyLogin(ctx, target)
	var e *tunnel.Error
	b.login, b.rejected = login, login == nil && errors.As(err, &e) && e.Type == tunnel.ErrorCredentials && e.Login != nil && e.Login.Sent
}

// masked hides the credentials in text to be shown. A proxy may send them back, in an
// error page for example.
func (b *bench) masked(text string) string { return string(b.Client.Mask([]byte(text))) }

// authMark stands in a request for the field with the proxy's credentials.
const authMark = "{auth}"

// fill is bench.fill, and replaces each authMark by the field line with the
// credentials for that request.
func (k *talk) fill(text string) string {
	parts := strings.Split(k.bench.fill(text), authMark)
	for i, before := range parts[:len(parts)-1] {
		head := before[strings.LastIndex(before, "\r\n\r\n")+1:]
		parts[i] += k.authField(strings.TrimLeft(head, "\r\n"))
	}
	return strings.Join(parts, "")
}

// authField returns the field line with the credentials for a request that begins with
// head, "" if none is needed.
func (k *talk) authField(head string) string {
	if k.login == nil || k.login.Bound() && k.loggedIn {
		return ""
	}
	if !k.login.Bound() {
		return "Proxy-Authorization: " + k.authorization(requestLine(head)) + "\r\n"
	}
	ctx, cancel := context.WithTimeout(k.ctx, k.Patience)
	defer cancel()
	value, err := k.login.Begin(ctx, k.conn, k.br)
	if err != nil {
		k.skip("the login by %s: %s", k.login.Scheme(), ascii(err.Error()))
	}
	k.loggedIn, k.got.kept = true, nil // evidence shows the exchange of the check itself
	return "Proxy-Authorization: " + value + "\r\n"
}

// authorization returns the value of Proxy-Authorization for one request, for a login
// that is not bound to a connection.
func (t *trial) authorization(method, target string) string {
	ctx, cancel := context.WithTimeout(t.ctx, t.Patience)
	defer cancel()
	value, err := t.login.Value(ctx, method, target)
	if err != nil {
		t.skip("the login by %s: %s", t.login.Scheme(), ascii(err.Error()))
	}
	return value
}

// requestLine returns the method and the target in the first line of a request.
func requestLine(head string) (method, target string) {
	line, _, _ := strings.Cut(head, "\n")
	method, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if i := strings.LastIndexByte(rest, ' '); i >= 0 {
		rest = rest[:i]
	}
	return cmp.Or(method, http.MethodConnect), strings.TrimSpace(rest)
}
